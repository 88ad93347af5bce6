/** How much is bid and offered up to each price, as two steps that meet at the spread. */

const WIDTH = 400;
const HEIGHT = 110;

type Level = [string, string];

export function Depth({ bids, offers }: { bids: Level[]; offers: Level[] }) {
  const [bid, offer] = [sums(bids), sums(offers)];
  const [best, cheapest] = [bid[0], offer[0]];
  if (!best || !cheapest) return null;
  const middle = (best.price + cheapest.price) / 2;
  const reach = Math.max(middle - bid.at(-1)!.price, offer.at(-1)!.price - middle, 1e-12);
  const most = Math.max(bid.at(-1)!.sum, offer.at(-1)!.sum, 1e-12);
  const x = (price: number) => (WIDTH / 2) * (1 + (price - middle) / reach);
  const y = (sum: number) => HEIGHT - (sum / most) * (HEIGHT - 4);
  const label = `Depth: ${total(bids)} bid in ${bids.length} levels, ${total(offers)} offered in ${offers.length}`;
  return (
    <svg class="depth" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={label}>
      <path class="bid" d={steps(bid, x, y)} />
      <path class="offer" d={steps(offer, x, y)} />
    </svg>
  );
}

interface Sum {
  price: number;
  sum: number;
}

function sums(levels: Level[]): Sum[] {
  let sum = 0;
  return levels.map(([price, size]) => {
    sum += Number(size);
    return { price: Number(price), sum };
  });
}

function total(levels: Level[]): string {
  return levels.reduce((sum, [, size]) => sum + Number(size), 0).toPrecision(4);
}

function steps(levels: Sum[], x: (price: number) => number, y: (sum: number) => number): string {
  const path = [`M${x(levels[0]!.price).toFixed(1)},${HEIGHT}`];
  for (const { price, sum } of levels) path.push(`H${x(price).toFixed(1)}V${y(sum).toFixed(1)}`);
  return `${path.join("")}V${HEIGHT}Z`;
}
