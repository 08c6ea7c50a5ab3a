// Line icons, 16 by 16, in the colour of the text around them. They never speak: the words beside them do.

import { html } from "../html.js";

const icon = (path) => () =>
  html`<svg class="icon" viewBox="0 0 16 16" width="16" height="16" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d=${path} /></svg>`;

export const Plus = icon("M8 3.5v9M3.5 8h9");
export const Pencil = icon("M10.6 3.4l2 2L5.5 12.5l-2.6.6.6-2.6z");
export const Trash = icon("M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.5 8.5h6l.5-8.5");
export const Close = icon("M4 4l8 8M12 4l-8 8");
export const Chevron = icon("M4.5 6.5L8 10l3.5-3.5");
export const Sun = icon("M8 5.2a2.8 2.8 0 100 5.6 2.8 2.8 0 000-5.6M8 1.5v1.3M8 13.2v1.3M1.5 8h1.3M13.2 8h1.3M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9");
export const Moon = icon("M13 9.6A5.5 5.5 0 016.4 3 5.5 5.5 0 1013 9.6z");
export const Auto = icon("M8 2.5a5.5 5.5 0 100 11 5.5 5.5 0 000-11M8 2.5v11M8 5.5h4.6M8 8h5.5M8 10.5h4.6");
export const Leave = icon("M9.5 3h-6v10h6M7 8h6.5M11 5.5L13.5 8 11 10.5");
export const Mark = () =>
  html`<svg class="mark" viewBox="0 0 32 32" width="24" height="24" fill="none" aria-hidden="true">
    <rect width="32" height="32" rx="8" fill="currentColor" />
    <path d="M7 13h18M16 9.5v13M11.5 23h9" stroke="#fff" stroke-width="2.2" stroke-linecap="round" />
    <rect x="6" y="15.5" width="5" height="5" rx="1.6" fill="#fff" />
    <rect x="21" y="15.5" width="5" height="5" rx="1.6" fill="#fff" />
  </svg>`;
