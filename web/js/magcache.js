/* Room for what the nodes of MagCache show: a status and a figure. Nothing here changes what a node does. */
import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

/** Kind of node -> width and height that a new one has at least, in pixels of the canvas. A workflow sets its saved sizes later. */
const SIZES = {
  MagCacheAuto: [320, 260],
  MagCache: [320, 284],
  MagCacheCalibration: [320, 210],
  MagCacheReport: [480, 530],
  MagCacheCompare: [480, 410],
  MagCacheDemoDecode: [270, 0],
};
/** The widget in which the web page shows a status. It is two lines high, and newer pages remove it when the run ends. */
const STATUS = "$$node-text-preview";
/** A setting that tells the server, which makes the texts on nodes, in which language the page is while the user has chosen none. */
const LANGUAGE = "MagCache.Language";
/** Pixels: height of a line, width and height of what is around the text, and the greatest height that the page gives it. */
const LINE = 16, BESIDE = 60, ABOVE = 36, MOST = 220;
/** In Nodes 2.0 a status would take all spare height from the figure, and newer pages make such a node 232 pixels higher. */
const STYLE = `
  [data-magcache] .lg-node-widgets { flex: none !important; }
  [data-magcache] .lg-node-widgets ~ :has(.image-preview) { flex: 1 1 0% !important; }
  [data-magcache]:has(.shrink-0 .image-preview) { min-height: calc(var(--node-height) - 232px) !important; }
`;

/** Node -> its last status. */
const statuses = new WeakMap();

const statusOf = (node) => node.widgets?.find((widget) => widget.name === STATUS);
const ourNodes = () => (app.canvas?.graph?.nodes ?? []).filter((node) => node.constructor.comfyClass in SIZES);

/** The height at which a text in a node of this width needs no scroll bar. */
function heightOf(text, width) {
  const pen = app.canvas.ctx;
  pen.save();
  pen.font = "12px Inter, sans-serif";
  const lines = text.split("\n").map((line) => Math.max(1, Math.ceil(pen.measureText(line).width / (width - BESIDE))));
  pen.restore();
  return Math.min(MOST, LINE * lines.reduce((sum, count) => sum + count) + ABOVE);
}

function fitStatuses() {
  for (const node of ourNodes()) {
    const status = statusOf(node);
    if (!status) continue;
    statuses.set(node, status.value);
    const height = () => heightOf(String(status.value), node.size[0]);
    Object.assign(status.options ?? {}, { getMinHeight: height, getMaxHeight: height });
    document.querySelector(`[data-node-id="${node.id}"]`)?.setAttribute("data-magcache", "");
  }
}

function showStatusesAgain() {
  for (const node of ourNodes()) {
    if (statuses.has(node) && !statusOf(node)) {
      api.dispatchCustomEvent("progress_text", { nodeId: String(node.id), text: statuses.get(node) });
    }
  }
}

app.registerExtension({
  name: "MagCache",
  settings: [{ id: LANGUAGE, name: "Language of the page", type: "hidden", defaultValue: "" }],
  nodeCreated(node) {
    const least = SIZES[node.constructor.comfyClass];
    if (least) node.setSize(least.map((length, side) => Math.max(length, node.size[side])));
  },
  setup() {
    document.head.append(Object.assign(document.createElement("style"), { textContent: STYLE }));
    api.addEventListener("progress_text", () => queueMicrotask(fitStatuses)); // When the page has made the widget.
    for (const end of ["execution_success", "execution_error", "execution_interrupted"]) {
      api.addEventListener(end, () => setTimeout(showStatusesAgain));
    }
    for (const event of ["magcache.report", "magcache.calibration"]) {
      api.addEventListener(event, () => {}); // For other programs; the page complains about events without a listener.
    }
    const { setting } = app.extensionManager;
    const language = setting.get("Comfy.Locale");
    if (language && setting.get(LANGUAGE) !== language) setting.set(LANGUAGE, language);
  },
});
