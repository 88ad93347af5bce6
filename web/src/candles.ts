/** Candles of one topic, by lightweight-charts; loaded when a market is looked at. */

import { CandlestickSeries, ColorType, createChart, type UTCTimestamp } from "lightweight-charts";

import type { Candle } from "../../docs/records";
import type { Feed } from "./feed";

/** Draw into an element until the function that is given back is called. The library's own logo needs an inline style, so the page has the attribution in words. */
export function draw(place: HTMLElement, feed: Feed, topic: string, tell: (candle: Candle) => void): () => void {
  const zone = new Date().getTimezoneOffset() * 60;
  const chart = createChart(place, { autoSize: true, layout: { attributionLogo: false }, timeScale: { timeVisible: true, secondsVisible: true, barSpacing: 14 } });
  const series = chart.addSeries(CandlestickSeries);
  const dress = () => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    chart.applyOptions({
      layout: { background: { type: ColorType.Solid, color: colour("--panel") }, textColor: colour("--dim"), attributionLogo: false },
      grid: { vertLines: { color: colour("--line") }, horzLines: { color: colour("--line") } },
      timeScale: { borderColor: colour("--line") },
      rightPriceScale: { borderColor: colour("--line") },
    });
    const [up, down] = [colour("--good"), colour("--bad")];
    series.applyOptions({ upColor: up, wickUpColor: up, borderUpColor: up, downColor: down, wickDownColor: down, borderDownColor: down });
  };
  dress();
  const scheme = matchMedia("(prefers-color-scheme: light)");
  scheme.addEventListener("change", dress);
  document.addEventListener("theme", dress);

  const conn = `derived/${topic.slice(0, topic.indexOf(":"))}`;
  const waiting = new Map<number, Candle>();
  let newest = 0;
  let frame = 0;
  const show = () => {
    frame = 0;
    let last: Candle | undefined;
    for (const [time, candle] of [...waiting].sort(([one], [other]) => one - other)) {
      // A bar that is told again, as late trades came, is drawn into the past.
      const isPast = time < newest;
      const bar = {
        time: (time / 1000 - zone) as UTCTimestamp,
        open: Number(candle.open),
        high: Number(candle.high),
        low: Number(candle.low),
        close: Number(candle.close),
      };
      series.update(bar, isPast);
      if (newest === 0) series.applyOptions({ priceFormat: { type: "price", ...steps(candle.close) } });
      newest = Math.max(newest, time);
      last = candle;
    }
    waiting.clear();
    if (last) tell(last);
  };
  const leave = feed.follow([topic], (record) => {
    if (record.type !== "candle" || record.conn !== conn) return;
    waiting.set(record.ts_open, record);
    frame ||= requestAnimationFrame(show);
  });
  return () => {
    leave();
    cancelAnimationFrame(frame);
    scheme.removeEventListener("change", dress);
    document.removeEventListener("theme", dress);
    chart.remove();
  };
}

function steps(price: string): { precision: number; minMove: number } {
  const precision = Math.min(price.split(".")[1]?.length ?? 0, 10);
  return { precision, minMove: 10 ** -precision };
}
