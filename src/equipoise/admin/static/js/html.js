// What every part of the page draws with: `html` makes elements of a template, without a build step and without eval.

import htm from "../vendor/htm.js";
import { h } from "../vendor/preact.js";

export { Component, render } from "../vendor/preact.js";
export { useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState } from "../vendor/hooks.js";
export const html = htm.bind(h);
