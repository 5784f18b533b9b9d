"""``fwd prices``: what models cost, and where that is known from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fwd_cli import render
from fwd_cli.errors import Failure, file_errors_explained
from fwd_cli.options import Documented, examples, from_dotenv, json_option
from fwd_cli.prompts import usage_error
from fwd_cli.tables import Rows

if TYPE_CHECKING:
    from fwd_server.metering.price_changes import PriceChange, PriceDifference
    from fwd_server.metering.prices import ModelPrice, PriceLayer, Rate
    from fwd_server.store.price_store import PriceFiles

COLUMNS = ("model", "$ in", "$ cached", "$ out", "source")
RATE_COLUMNS = ("from", "tier", "prompt above", "meter", "$ per million")
CHANGE_COLUMNS = ("model", "what", "before", "after", "change")
FORMS = ("auto", "fwd", "litellm", "genai-prices", "models.dev")

data_option = click.option(
    "--data",
    cls=Documented,
    type=click.Path(file_okay=False, path_type=Path),
    envvar="FWD_DATA",
    show_envvar=True,
    default=from_dotenv("FWD_DATA", "data"),
    show_default="data",
    help="Directory with the installed price table.",
)
prices_option = click.option(
    "--prices",
    cls=Documented,
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="FWD_PRICES",
    show_envvar=True,
    default=from_dotenv("FWD_PRICES"),
    show_default="own-prices.json in the data directory",
    help="Your own price file, which wins over every other.",
)


@click.group(
    name="prices",
    epilog=examples(
        "fwd prices list gpt-6",
        "fwd prices show openai:gpt-6-sol",
        "fwd prices set compat:my-model --input 0.5 --output 2",
    ),
)
def command() -> None:
    """Show, compare, update and set the prices of models.

    Prices are US dollars for a million tokens. Your own file wins over the installed table, and that over the one that
    came with fwd. Nothing is ever fetched from a network.
    """


@command.command(
    name="list",
    epilog=examples("fwd prices list", "fwd prices list gpt-6", "fwd prices list openrouter: --json"),
)
@click.argument("words", nargs=-1, metavar="[MODEL]...")
@data_option
@prices_option
@json_option
def list_(words: tuple[str, ...], data: Path, prices: Path | None, as_json: bool) -> None:
    """List the price of each model today.

    With MODEL only those whose name contains it. A star stands for every other model of that provider. What has no
    price is not in the list: its calls are counted as unpriced.
    """
    with _price_files(data, prices) as files:
        rows = [price for price in files.read_table().list_models() if all(word in _name(price) for word in words)]
    if as_json:
        from fwd_server.metering.price_text import dump_model

        click.echo("".join(render.as_json(dump_model(price)) for price in rows), nl=False)
    else:
        Rows(COLUMNS, [_price_row(price) for price in rows], COLUMNS[1:4]).show()
    if not rows:
        click.echo("No model of that name has a price: fwd prices list shows all.", err=True)


@command.command(
    name="show",
    epilog=examples(
        "fwd prices show openai:gpt-6-sol",
        "fwd prices show google:gemini-4-argon --json",
        "fwd prices show anthropic:claude-haiku-5-5-20261001     # a dated snapshot costs what its model costs",
    ),
)
@click.argument("model")
@data_option
@prices_option
@json_option
def show(model: str, data: Path, prices: Path | None, as_json: bool) -> None:
    """Show every price of one model: tiers, steps, coming changes.

    MODEL is provider:model. A meter that is not listed costs what its side costs: cached input as input, reasoning as
    output.
    """
    from fwd_server.metering.price_text import dump_model

    provider, name = _split_model(model)
    with _price_files(data, prices) as files:
        price = files.read_table().find(provider, name)
    if price is None:
        raise Failure(
            f"{model} has no price",
            "neither your file nor the installed nor the packaged table has it",
            f"fwd prices set {model} --input 1 --output 2",
        )
    if as_json:
        click.echo(render.as_json(dump_model(price)), nl=False)
    else:
        Rows(RATE_COLUMNS, [*_rate_rows(price)], RATE_COLUMNS[2:3] + RATE_COLUMNS[4:]).show()


@command.command(
    name="check",
    epilog=examples(
        "fwd prices check                            # are my files valid, and what do they change?",
        "fwd prices check new-prices.json",
        "fwd prices check model_prices_and_context_window.json --format litellm",
    ),
)
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMS), default="auto", show_default=True, help="Form of FILE.")
@data_option
@prices_option
@json_option
def check(file: Path | None, form: str, data: Path, prices: Path | None, as_json: bool) -> None:
    """Check a price file, and list where it disagrees.

    FILE is compared with the table in force; without FILE your own and the installed files are checked, and compared
    with the table that came with fwd. A file with one wrong value is refused whole, naming the path of the value.
    """
    from fwd_server.metering.packaged import load_packaged_prices
    from fwd_server.metering.price_changes import compare_prices

    with _price_files(data, prices) as files:
        if file is None:
            before, after = load_packaged_prices(), _merge_layers(files.read_layers())
        else:
            before, after = _merge_layers([*files.read_layers(), load_packaged_prices()]), _read_list(file, form)
    difference = compare_prices(before, after)
    _show_difference(difference, as_json=as_json)
    if not as_json:
        click.echo(f"{len(after.models)} models; {difference.common} in both, {len(difference.changes)} differences.")


@command.command(
    name="update",
    epilog=examples(
        "fwd prices update model_prices_and_context_window.json",
        "fwd prices update data_slim.json --format genai-prices --yes",
        "fwd prices update prices.json --sha256 9f86d081...",
    ),
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMS), default="auto", show_default=True, help="Form of FILE.")
@click.option(
    "--sha256", "digest", cls=Documented, metavar="HEX", show_default="not checked", help="Digest FILE must have."
)
@click.option("--yes", "-y", "agreed", is_flag=True, help="Install it without a question.")
@data_option
@prices_option
@json_option
def update(
    file: Path, form: str, digest: str | None, agreed: bool, data: Path, prices: Path | None, as_json: bool
) -> None:
    """Install a price table from a file that you bring.

    FILE is a table of fwd, LiteLLM's model_prices_and_context_window.json, genai-prices' data_slim.json or models.dev's
    api.json. The difference is printed; a price that changes more than tenfold or becomes 0, and a fifth of the models
    losing their price, need your word. A running gateway uses the new table within five seconds.
    """
    from fwd_server.metering.price_changes import compare_prices

    with _price_files(data, prices) as files:
        layer = _read_list(file, form, digest)
        # The packaged table still prices what the new one leaves out, so only an installed price can get lost.
        installed = next((known for known in files.read_layers() if known.source == str(files.installed)), None)
        difference = compare_prices(installed or _known_in(layer, files.read_table().layers), layer)
        alarms = difference.find_alarms()
        _show_difference(difference, as_json=as_json)
        for alarm in alarms:
            click.echo(f"Look at this: {alarm}.", err=True)
        if alarms and not agreed:
            click.confirm("Install this table?", abort=True, err=True)
        files.install(layer, _today())
    if not as_json:
        click.echo(f"Installed {len(layer.models)} models in {files.installed}.")


@command.command(
    name="set",
    epilog=examples(
        "fwd prices set compat:my-model --input 0.5 --output 2",
        "fwd prices set openai:gpt-6-sol --input 1.8 --output 9 --cached 0.18",
        "fwd prices set compat:* --input 0 --output 0     # everything there is free",
    ),
)
@click.argument("model")
@click.option(
    "--input",
    "input_",
    cls=Documented,
    required=True,
    metavar="USD",
    show_default="none",
    help="Price of a million input tokens.",
)
@click.option(
    "--output",
    cls=Documented,
    required=True,
    metavar="USD",
    show_default="none",
    help="Price of a million output tokens.",
)
@click.option(
    "--cached", cls=Documented, metavar="USD", show_default="as input", help="Price of a million cached input tokens."
)
@data_option
@prices_option
@json_option
def set_(
    model: str, input_: str, output: str, cached: str | None, data: Path, prices: Path | None, as_json: bool
) -> None:
    """Set the price of one model in your own file.

    MODEL is provider:model; provider:* is every model of that provider without a price of its own.
    """
    from fwd_server.metering.price_text import dump_model
    from fwd_server.metering.prices import ModelPrice, Rate, group_rates

    provider, name = _split_model(model)
    given = {"input": input_, "output": output, "cached_input": cached}
    meters = {meter: _read_rate(meter, text) for meter, text in given.items() if text is not None}
    price = ModelPrice(provider, name, group_rates([Rate.from_meters(meters)]), source="set by hand")
    with _price_files(data, prices) as files:
        files.set_price(price, _today())
    text = f"{model} costs ${input_} in and ${output} out for a million tokens, in {files.own}.\n"
    click.echo(render.as_json(dump_model(price)) if as_json else text, nl=False)


def _read_rate(meter: str, text: str) -> int:
    from fwd_server.metering.money import RATE_SCALE, scale_exactly
    from fwd_server.metering.price_file import MOST_USD

    try:
        # Decimal, because 0.1 has no exact float and prices are added up.
        return scale_exactly(Decimal(text.removeprefix("$")), RATE_SCALE, MOST_USD)
    except InvalidOperation:
        raise usage_error(f"{meter}: {text!r} is not an amount of dollars") from None
    except ValueError as error:
        raise usage_error(f"{meter}: {text} {error}") from None


@contextmanager
def _price_files(data: Path, prices: Path | None) -> Iterator[PriceFiles]:
    """The files of the options; what is wrong with one ends the command with three lines."""
    from fwd_server.metering.price_file import PriceFileError
    from fwd_server.store.price_store import PriceFiles

    try:
        with file_errors_explained("a price file cannot be used", "its permissions, or another file"):
            yield PriceFiles.in_directory(data, prices)
    except PriceFileError as error:
        raise Failure(
            "the price file is refused", str(error), "fix what is named, then fwd prices check FILE"
        ) from error


def _read_list(file: Path, form: str, digest: str | None = None) -> PriceLayer:
    import hashlib

    from fwd_server.metering.price_file import PriceFileError
    from fwd_server.metering.price_sources import read_price_list

    content = file.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    # A digest is for files that came over a network, which fwd never asks by itself.
    if digest is not None and digest.lower() != found:
        raise Failure("the file is not the expected one", f"its SHA-256 is {found}", "another copy of the file")
    try:
        return read_price_list(content, form, str(file))
    except PriceFileError as error:
        raise PriceFileError(f"{file}: {problem}" for problem in error.problems) from None


def _merge_layers(layers: list[PriceLayer] | tuple[PriceLayer, ...]) -> PriceLayer:
    """Several layers as one, for a comparison: the first one wins, as it does in a table."""
    from fwd_server.metering.prices import PriceLayer

    models: dict[tuple[str, str], ModelPrice] = {}
    # The last update wins, so the strongest layer comes last.
    for layer in reversed(layers):
        models.update(layer.models)
    return PriceLayer(models)


def _known_in(layer: PriceLayer, layers: tuple[PriceLayer, ...]) -> PriceLayer:
    """What the table in force says of the models of a layer."""
    from fwd_server.metering.prices import PriceLayer

    return PriceLayer({key: price for key, price in _merge_layers(layers).models.items() if key in layer.models})


def _show_difference(difference: PriceDifference, *, as_json: bool) -> None:
    if as_json:
        import attrs

        lines = [attrs.asdict(change) | {"percent": change.percent} for change in difference.changes]
        lines += [{"new": name} for name in difference.new] + [{"gone": name} for name in difference.gone]
        click.echo("".join(map(render.as_json, lines)), nl=False)
        return
    rows = [_change_row(change) for change in difference.changes]
    rows += [(name, "new", "", "", "") for name in difference.new]
    rows += [(name, "gone", "", "", "") for name in difference.gone]
    Rows(CHANGE_COLUMNS, rows, CHANGE_COLUMNS[2:]).show()


def _change_row(change: PriceChange) -> tuple[str, ...]:
    above = f"above {change.above}" if change.above else ""
    what = " ".join(filter(None, (change.tier, change.since, above, change.meter)))
    # From nothing to something is no percentage.
    percent = "" if change.percent is None else f"{change.percent:+.0f} %"
    return (f"{change.provider}:{change.model}", what, _number_text(change.before), _number_text(change.after), percent)


def _number_text(value: float | None) -> str:
    return "" if value is None else f"{value:.9f}".rstrip("0").rstrip(".")


def _name(price: ModelPrice) -> str:
    return f"{price.provider}:{price.id}"


def _price_row(price: ModelPrice) -> tuple[str, ...]:
    rate, _ = price.find_rate(_today(), "", 0)
    cells = [_meter(rate, meter) for meter in ("input", "cached_input", "output")]
    return (_name(price), *cells, price.source)


def _meter(rate: Rate | None, meter: str) -> str:
    from fwd_server.metering.money import RATE_SCALE

    # Prices that only follow from another are left out: shown, they would look like stated ones.
    value = getattr(rate, meter) if rate is not None and meter in rate.own else None
    return "" if value is None else _number_text(value / RATE_SCALE)


def _rate_rows(price: ModelPrice) -> Iterator[tuple[str, ...]]:
    from fwd_server.metering.money import NANO
    from fwd_server.metering.prices import METERS

    for tier, sets in sorted(price.tiers.items()):
        for rates in reversed(sets):
            for rate in rates.rates:
                # "Above 200000" is how providers write the step, and the threshold is the first token of it.
                above = str(rate.threshold - 1) if rate.threshold else ""
                for meter in METERS:
                    if meter in rate.own:
                        yield (rate.since, tier, above, meter, _meter(rate, meter))
    for unit, nano in price.units.items():
        yield ("", "", "", f"each {unit}", _number_text(nano / NANO))


def _split_model(model: str) -> tuple[str, str]:
    provider, colon, name = model.partition(":")
    if not (provider and colon and name):
        raise usage_error(f"{model!r} is not provider:model, such as openai:gpt-6-sol")
    return provider, name


def _today() -> str:
    return datetime.now(timezone.utc).date().isoformat()
