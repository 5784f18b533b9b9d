// Starts Swagger UI. The validator badge would send the document to a server of its makers: it is off.
"use strict";

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", paint);
paint();

// Nine optional headers of a call would stand between its name and its body: they are folded, and come after it.
const foldedParameters = (Original, { React }) => (props) => {
  const [isOpen, setOpen] = React.useState(false);
  const whole = React.createElement(Original, props);
  const onlyHeaders = props.parameters.size > 0 && props.parameters.every((one) => one.get("in") === "header");
  if (!onlyHeaders) return whole;
  const text = `${isOpen ? "Hide" : "Show"} the ${props.parameters.size} optional headers of this call`;
  const settings = { className: "fold", type: "button", "aria-expanded": isOpen, onClick: () => setOpen(!isOpen) };
  const name = isOpen ? "body-first" : "body-first folded";
  return React.createElement("div", { className: name }, whole, React.createElement("button", settings, text));
};

// The same headers come with every status.
const foldedHeaders = (Original, { React }) => (props) => {
  if (!props.headers || !props.headers.size) return null;
  const summary = React.createElement("summary", null, `${props.headers.size} headers`);
  return React.createElement("details", { className: "fold" }, summary, React.createElement(Original, props));
};

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  validatorUrl: null,
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  plugins: [{ wrapComponents: { parameters: foldedParameters, headers: foldedHeaders } }],
});
