-- Times are UTC microseconds, money is nano-dollars. No RETURNING and no STRICT: RHEL 9 has SQLite 3.34.
-- Ledger rows outlive keys and rules, so nothing here refers to them by a foreign key.
create table calls(
    id text primary key, at bigint not null, ended_at bigint, key_id text, key_name text, project_id text,
    user_tag text, tags text, request_id text, surface text, asked text, provider text, model text, status int,
    state text, stream int, prompt bigint, cached bigint, cache_write bigint, cache_write_1h bigint,
    completion bigint, reasoning bigint, units text, tier text, cost bigint, cost_kind text, known_part bigint,
    saved bigint, bound bigint, over_bound bigint, price_id text, attempts int, first_ms int, total_ms int,
    error text, dropped text, replica text, budgets text
) without rowid;
create index calls_at on calls(at);
create index calls_key_at on calls(key_id, at);
create index calls_request on calls(request_id);

create table attempts(
    call_id text, n int, provider text, model text, at bigint, ms int, status int, code text, cost bigint,
    cost_kind text, prompt bigint, completion bigint, primary key(call_id, n)
) without rowid;

create table counters(
    rule_id text, subject text, period text, spent bigint not null default 0, calls bigint not null default 0,
    adjusted bigint not null default 0, leased bigint not null default 0, updated_at bigint,
    primary key(rule_id, subject, period)
) without rowid;

create table rollups(
    day text, key_id text, project_id text, provider text, model text, user_tag text, surface text,
    calls bigint not null, failed bigint not null, prompt bigint not null, cached bigint not null,
    cache_write bigint not null, completion bigint not null, reasoning bigint not null, cost bigint not null,
    estimated bigint not null, unpriced bigint not null, ms bigint not null,
    primary key(day, key_id, provider, model, user_tag, surface)
) without rowid;

create table adjustments(
    id text primary key, at bigint, rule_id text, subject text, period text, amount bigint, reason text, actor text
) without rowid;

create table applied(journal text primary key, seq bigint not null) without rowid;
create table meta(name text primary key, value text) without rowid;
