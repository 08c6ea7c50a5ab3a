// One time plot: a line for each target, or the range over all when there are many; vertical lines at flips.

import uPlot from "../vendor/uplot.js";
import { clock } from "./format.js";
import { COLOURS, MOST_LINES, WINDOW_S } from "./history.js";
import { html, useEffect, useRef } from "./html.js";

// A page that was just opened shows a minute, and grows from there.
const SHORTEST_WINDOW_S = 60;
const DASHES = [[], [6, 4], [2, 3]];
const TOOLTIP_LINES = 10;

/** The dash of a target's line: its second and third turn through the colours differ in it. */
export function dash(slot) {
  return DASHES[Math.floor(slot / COLOURS) % DASHES.length];
}

/** The name of a target's colour in the style sheet. */
export function colour(slot) {
  return `--series-${slot % COLOURS}`;
}

function style(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/**
 * `quantity` is one of history's; `format` makes a value into text; `markers` are [{time, label, ink}]; `highlight` is a
 * target's name or null. Plots with the same `group` share their cursor. `revision` and `theme` say when to draw anew.
 */
export function Plot({ history, quantity, format, markers, highlight, group, label, revision, theme, whole }) {
  const place = useRef(null);
  const plot = useRef(null);
  // The plugins of a plot outlive many renderings; they read what is current from here.
  const current = useRef({});
  const names = [...history.tracks.keys()];
  const many = names.length > MOST_LINES;
  const shape = many ? "many" : names.map((name) => `${name}\u0000${history.slot(name)}`).join("\u0001");
  Object.assign(current.current, { history, quantity, format, markers, names, many });

  useEffect(() => {
    const made = make(place.current, current.current, { group, whole });
    plot.current = made;
    const observer = new ResizeObserver(([entry]) => {
      const { width, height } = entry.contentRect;
      if (width > 0) made.setSize({ width: Math.floor(width), height: Math.floor(height) });
    });
    observer.observe(place.current);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape, theme, quantity, group]);

  useEffect(() => {
    plot.current?.setData(data(current.current));
  }, [revision, shape, theme, quantity]);

  useEffect(() => {
    const made = plot.current;
    if (!made || many) return;
    const index = names.indexOf(highlight);
    made.setSeries(index < 0 ? null : index + 1, { focus: true });
  }, [highlight, shape, quantity, theme]);

  return html`<div class="plot" role="img" aria-label=${label} ref=${place}></div>`;
}

function data({ history, quantity, names, many }) {
  if (many) {
    const { low, mean, high } = history.envelopes[quantity];
    return [history.times, high, low, mean];
  }
  return [history.times, ...names.map((name) => history.tracks.get(name)[quantity])];
}

function make(place, current, { group, whole }) {
  const { history, names, many, format } = current;
  const text = style("--muted");
  const font = `11px ${style("--font")}`;
  const axis = {
    stroke: text,
    font,
    ticks: { show: false },
    grid: { stroke: style("--grid"), width: 1 },
  };
  const lines = many ? envelopeLines() : names.map((name) => line(name, history.slot(name)));
  const options = {
    width: Math.max(100, Math.floor(place.clientWidth)),
    height: Math.max(100, Math.floor(place.clientHeight)),
    padding: [26, 24, 0, 0],
    legend: { show: false },
    focus: { alpha: 0.18 },
    cursor: {
      sync: { key: group, setSeries: false },
      drag: { x: false, y: false },
      points: { size: 6 },
      focus: { prox: -1 },
    },
    scales: {
      x: { time: true, range: () => window_(current.history.times) },
      y: { range: (_, low, high) => [0, ceiling(high, whole)] },
    },
    series: [{}, ...lines],
    bands: many ? [{ series: [1, 2], fill: style("--band") }] : [],
    axes: [
      { ...axis, size: 26, space: 70, values: (_, at, __, ___, step) => at.map((t) => clock(t, step < 60)) },
      {
        ...axis,
        size: 46,
        space: 34,
        incrs: whole ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000, 100000] : undefined,
        values: (_, at) => at.map((value) => format(value)),
      },
    ],
    plugins: [markerPlugin(current), tooltipPlugin(current)],
  };
  return new uPlot(options, data(current), place);
}

function line(name, slot) {
  return { label: name, stroke: style(colour(slot)), width: 1.6, dash: dash(slot), points: { show: false } };
}

function envelopeLines() {
  const edge = { stroke: style("--series-0"), width: 0.8, points: { show: false } };
  return [
    { ...edge, label: "highest" },
    { ...edge, label: "lowest" },
    { label: "mean", stroke: style("--series-0"), width: 2, points: { show: false } },
  ];
}

/** From when to when: the five minutes before the last sample, or less while there is less. */
function window_(times) {
  if (!times.length) return [0, SHORTEST_WINDOW_S];
  const end = times.at(-1);
  const length = Math.min(WINDOW_S, Math.max(SHORTEST_WINDOW_S, end - times[0]));
  return [end - length, end];
}

/** Where the vertical scale ends: above the highest value, and never so low that a difference of one fills the plot. */
function ceiling(high, whole) {
  if (high == null || high <= 0) return whole ? 4 : 1;
  return whole ? Math.max(4, Math.ceil(high * 1.12)) : high * 1.12;
}

function markerPlugin(current) {
  const draw = (u) => {
    const { ctx } = u;
    const { left, top, width, height } = u.bbox;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.font = `${10.5 * ratio}px ${style("--font")}`;
    ctx.textAlign = "left";
    ctx.textBaseline = "bottom";
    // Two rows of labels, as a target that is lost and regained has two moments close together.
    const free = [left, left];
    for (const marker of [...current.markers].sort((a, b) => a.time - b.time)) {
      const x = Math.round(u.valToPos(marker.time, "x", true));
      if (x < left || x > left + width) continue;
      ctx.strokeStyle = ctx.fillStyle = style(marker.ink);
      ctx.lineWidth = ratio;
      ctx.setLineDash([3 * ratio, 3 * ratio]);
      ctx.beginPath();
      ctx.moveTo(x, top);
      ctx.lineTo(x, top + height);
      ctx.stroke();
      const needed = ctx.measureText(marker.label).width;
      const start = Math.max(left, Math.min(x - 3 * ratio, left + width - needed));
      // A label that would cover another is left out; its line is there, and the log has the words.
      const row = free.findIndex((from) => start >= from);
      if (row < 0) continue;
      ctx.fillText(marker.label, start, top - (2 + 12 * row) * ratio);
      free[row] = start + needed + 8 * ratio;
    }
    ctx.restore();
  };
  return { hooks: { draw } };
}

function tooltipPlugin(current) {
  const box = document.createElement("div");
  box.className = "tooltip";
  box.hidden = true;
  const move = (u) => {
    const { idx, left, top } = u.cursor;
    const inside = idx != null && left >= 0 && u.data[0].length > 0;
    box.hidden = !inside;
    if (!inside) return;
    box.replaceChildren(...tooltipLines(u, idx, current));
    const beyond = left > u.over.clientWidth / 2;
    box.style.left = beyond ? "auto" : `${left + 14}px`;
    box.style.right = beyond ? `${u.over.clientWidth - left + 14}px` : "auto";
    box.style.top = `${Math.max(0, Math.min(top ?? 0, u.over.clientHeight - box.offsetHeight))}px`;
  };
  const leave = () => {
    box.hidden = true;
  };
  return {
    hooks: {
      init: (u) => {
        u.over.append(box);
        u.over.addEventListener("mouseleave", leave);
      },
      setCursor: move,
    },
  };
}

function tooltipLines(u, index, { format }) {
  const head = element("div", "tooltip-time", clock(u.data[0][index]));
  const values = u.series.slice(1).map((series, i) => ({ series, value: u.data[i + 1][index] }));
  const shown = values.filter(({ value }) => value != null).sort((a, b) => b.value - a.value);
  const rows = shown.slice(0, TOOLTIP_LINES).map(({ series, value }) => {
    const row = element("div", "tooltip-row");
    const swatch = element("i", "");
    swatch.style.background = series.stroke();
    row.append(swatch, element("span", "", series.label), element("b", "", format(value)));
    return row;
  });
  if (shown.length > TOOLTIP_LINES) rows.push(element("div", "tooltip-more", `${shown.length - TOOLTIP_LINES} more`));
  return [head, ...rows];
}

function element(tag, name, text) {
  const made = document.createElement(tag);
  made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}
