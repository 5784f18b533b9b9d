// Starts ReDoc, with its telemetry off.
import { init } from "./redoc-standalone.js";

init("openapi.json", { disableTelemetry: true }, document.querySelector("#redoc"));
