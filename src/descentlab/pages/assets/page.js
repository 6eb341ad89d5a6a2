// Theme, filters and figures of a report. The theme follows the system until its button is used; `#dark` and `#light`
// in the address choose it too.
(() => {
  "use strict";
  const root = document.documentElement;
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 34rem)");
  const depth = new Set(["surface", "scatter3d", "mesh3d", "isosurface", "volume", "cone", "streamtube"]);

  const chosen = () => root.dataset.theme || (systemDark.matches ? "dark" : "light");
  const hashTheme = () => ({ "#dark": "dark", "#light": "light" })[location.hash];
  if (hashTheme()) root.dataset.theme = hashTheme();

  function color(name) {
    const probe = document.body.appendChild(document.createElement("span"));
    probe.style.color = `var(--${name})`;
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }

  // Names of the axes and scenes of a chart, also of those that its layout does not mention.
  function axesOf(chart) {
    const names = new Set(Object.keys(chart.layout).filter((key) => /^([xy]axis|scene)\d*$/.test(key)));
    for (const trace of chart.data) {
      if (depth.has(trace.type)) names.add((trace.scene || "scene"));
      else for (const axis of ["x", "y"]) names.add((trace[`${axis}axis`] || axis).replace(axis, `${axis}axis`));
    }
    return names;
  }

  // What the page decides about a chart, as plotly's dotted attribute names.
  function pageStyle(chart) {
    const [ink, muted, rule, grid, raised] = ["ink", "muted", "rule", "grid", "raised"].map(color);
    const clear = "rgba(0,0,0,0)";
    const style = {
      "font.color": ink, "font.size": narrow.matches ? 11 : 13, "font.family": getComputedStyle(document.querySelector(".top")).fontFamily,
      "paper_bgcolor": clear, "plot_bgcolor": clear, "legend.bgcolor": clear,
      "hoverlabel.bgcolor": raised, "hoverlabel.bordercolor": rule, "hoverlabel.font.color": ink,
      "modebar.bgcolor": clear, "modebar.color": muted, "modebar.activecolor": ink,
      "dragmode": narrow.matches ? false : chart.dragmode,
    };
    for (const name of axesOf(chart)) {
      const three = name.startsWith("scene");
      for (const axis of three ? ["xaxis", "yaxis", "zaxis"].map((a) => `${name}.${a}`) : [name]) {
        style[`${axis}.gridcolor`] = three ? rule : grid;
        style[`${axis}.linecolor`] = style[`${axis}.tickcolor`] = muted;
        style[`${axis}.zerolinecolor`] = rule;
        if (three) style[`${axis}.backgroundcolor`] = clear;
      }
    }
    for (const [side, pixels] of [["l", 44], ["r", 8], ["b", 44]]) {
      style[`margin.${side}`] = narrow.matches ? pixels : chart.margin[side] ?? null;
    }
    return { ...style, ...shape(chart) };
  }

  // How a chart of several parts places them: it says so itself, for wide and for narrow screens.
  function shape(chart) {
    const { height, ...places } = chart.layout.meta?.[narrow.matches ? "narrow" : "wide"] || {};
    return places;
  }

  function assign(target, dotted, value) {
    const path = dotted.split(/[.[\]]+/).filter(Boolean);
    const last = path.pop();
    for (const name of path) target = target[name] = target[name] || {};
    target[last] = value;
  }

  function stretch(holder, chart) {
    const height = chart.layout.meta?.[narrow.matches ? "narrow" : "wide"]?.height || chart.layout.height;
    if (height) holder.style.height = `${height}px`;
  }

  const charts = [];
  function draw(holder) {
    const chart = JSON.parse(holder.nextElementSibling.textContent);
    chart.layout = Object.assign(chart.layout || {}, { autosize: true, width: undefined });
    stretch(holder, chart);
    delete chart.layout.height;
    chart.margin = { ...chart.layout.margin };
    chart.dragmode = chart.layout.dragmode || (chart.data.some((trace) => depth.has(trace.type)) ? "orbit" : "zoom");
    for (const [name, value] of Object.entries(pageStyle(chart))) assign(chart.layout, name, value);
    const filename = holder.getAttribute("aria-label").replace(/, interactive chart$/, "").replace(/\W+/g, "_");
    Plotly.newPlot(holder, chart.data, chart.layout, {
      responsive: true, displaylogo: false, showSendToCloud: false, scrollZoom: false,
      displayModeBar: narrow.matches ? false : "hover",
      modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d", "resetCameraLastSave3d"], toImageButtonOptions: { format: "svg", filename },
    });
    charts.push({ holder, chart });
    writeCells(holder, chart);
  }

  // Numbers in the cells of a heat map need room; where there is none, a tap on a cell still tells its number.
  function writeCells(holder, chart) {
    if (!chart.data.some((trace) => trace.type === "heatmap")) return;
    const texts = [...chart.data.keys()].filter((at) => chart.data[at].mode === "text");
    if (texts.length) Plotly.restyle(holder, { visible: !narrow.matches }, texts);
  }

  const redraw = () => charts.forEach(({ holder, chart }) => {
    if (chart.layout.meta) stretch(holder, chart);
    Plotly.relayout(holder, pageStyle(chart));
  });
  const refit = () => charts.forEach(({ holder, chart }) => writeCells(holder, chart));

  function startTheme() {
    const button = document.querySelector(".theme");
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = chosen() === "dark" ? "light" : "dark";
      redraw();
    });
    addEventListener("hashchange", () => {
      if (!hashTheme()) return;
      root.dataset.theme = hashTheme();
      redraw();
    });
    systemDark.addEventListener("change", redraw);
    narrow.addEventListener("change", () => {
      redraw();
      refit();
    });
  }

  function startFilters() {
    const bar = document.querySelector(".filters");
    if (!bar) return;
    const rows = [...document.querySelectorAll(".claims tbody tr")];
    const buttons = [...bar.querySelectorAll("button")];
    const wanted = { verdict: "", case: "" };
    // A claim about all cases also speaks of the selected one.
    const visible = ({ dataset }) =>
      (!wanted.verdict || dataset.verdict === wanted.verdict) &&
      (!wanted.case || !dataset.case || dataset.case === wanted.case);
    const apply = () => {
      for (const row of rows) row.hidden = !visible(row);
      for (const button of buttons) button.setAttribute("aria-pressed", wanted[button.dataset.filter] === button.dataset.value);
      const shown = rows.filter((row) => !row.hidden).length;
      bar.querySelector(".count").textContent = shown === rows.length ? `${shown} claims` : `${shown} of ${rows.length} claims`;
    };
    for (const button of buttons) {
      button.addEventListener("click", () => {
        wanted[button.dataset.filter] = button.dataset.value;
        apply();
      });
    }
    bar.hidden = buttons.length === 0;
    apply();
  }

  document.addEventListener("DOMContentLoaded", () => {
    startTheme();
    startFilters();
    document.querySelectorAll(".chart").forEach(draw);
  });
})();
