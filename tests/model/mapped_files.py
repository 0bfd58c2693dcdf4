"""Files for the tests of mapped sources: a venue's diary as CSV, the way feeds write it."""

from datetime import date
from decimal import Decimal

import numpy as np
import zstandard

from mtsim.engine.events import Origin
from mtsim.engine.messages import Kind, TimeInForce
from mtsim.model.sources import mapping
from mtsim.model.sources.base import Options
from mtsim.model.sources.mapped import MappedSource
from tests.model.venue import BUY, SELL, Venue, levels_of

DAY = date(2024, 1, 31)
SAID = Options(symbol="ABC", date=DAY)
DEPTH = 5

PLAIN = """
time: {column: t, format: midnight_ns, zone: America/New_York}
price: {column: price, tick: 0.01}
size: {column: size}
id: {column: id}
side: {column: side, buy: B, sell: S}
action: {column: what, add: ADD, cancel: CANCEL, delete: DELETE, replace: REPLACE, fill: FILL}
replace: {old_id: other}
"""
BESIDE = (
    PLAIN.replace("{old_id: other}", "{old_id: other, old_price: op, old_size: oq}")
    + """
book: {levels: 5, bid_price: "bp{n}", bid_size: "bq{n}", ask_price: "ap{n}", ask_size: "aq{n}"}
"""
)
OLD_NAMES = ("op", "oq")
NAMES = ("t", "what", "side", "id", "other", "price", "size")
BOOK_NAMES = tuple(
    f"{side}{field}{n}" for n in range(1, DEPTH + 1) for side in "ba" for field in "pq"
)


def cents(tick):
    return f"{Decimal(tick) / 100:.2f}"


def plain_row(row, ns):
    what, side, order, other, tick, lots = row
    return [ns, what, "BS"[side], order, other or "", cents(tick), lots]


def table(venue, books=False, start=0):
    """A diary as lines of text cells; the fills of one order have one time."""
    lines, ns, taker = [], 34_200 * 10**9, 0
    for row, (bids, asks) in zip(venue.rows, venue.books, strict=True):
        ns += 0 if row[0] == "FILL" and row[3] == taker else 1_000_003
        taker = row[3] if row[0] == "FILL" else 0
        cells = plain_row(row, ns)
        if books:
            old = venue.was.get(row[2]) if row[0] == "REPLACE" else None
            cells += [cents(old[0]), old[1]] if old else ["", ""]
            for bid, ask in zip(levels_of(bids, DEPTH), levels_of(asks, DEPTH), strict=True):
                for tick, lots in (bid, ask):
                    cells += [cents(tick), f"{lots}.0"]
        lines.append([str(cell) for cell in cells])
    return [[*NAMES, *((*OLD_NAMES, *BOOK_NAMES) if books else ())], *lines[start:]]


def text_of(lines):
    return "".join(",".join(cells) + "\n" for cells in lines)


def written(folder, text, name="orders.csv"):
    path = folder / name
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(zstandard.compress(data) if name.endswith(".zst") else data)
    return str(path)


def mapped(file, text, options=SAID):
    return MappedSource((file,), mapping.loads(text), options)


def feed_of(source):
    return np.concatenate([batch.feed for batch in source.batches()])


def small(rows, text=PLAIN, **more):
    """The feed of a few rows (what, side, id, other, price, size), a second apart unless said."""

    def read(folder, times=None):
        clock = times or [34_200 + k for k in range(len(rows))]
        lines: list[list[str]] = [[*NAMES]]
        for seconds, (what, side, order, other, price, size) in zip(clock, rows, strict=True):
            cells = [int(seconds * 10**9), what, side, order, other, price, size]
            lines.append([str(cell) for cell in cells])
        return mapped(written(folder, text_of(lines)), text, **more)

    return read


def told(feed):
    """Messages as (kind, side, tif, tick, lots, id, origin), for eyes."""
    message = feed["message"]
    return [
        (Kind(m["kind"]).name, int(m["side"]), TimeInForce(m["tif"]).name, int(m["price_tick"]),
         int(m["lots"]), int(m["order_id"]), Origin(origin).name)
        for m, origin in zip(message, feed["origin"], strict=True)
    ]  # fmt: skip


class Shanghai(Venue):
    """The venue without what Shanghai does not have."""

    def replace(self, order, tick, lots):
        pass

    def cancel(self, order, lots):
        pass


def shanghai(folder, venue, late_ms):
    """A diary as Shanghai writes it, an opening auction before it, snapshots of it beside it."""
    orders = ["biz_index,appl_seq,time,event,side,order_no,sell_order_no,price,qty"]
    orders += [
        f"1,1,{clock(-600_000 + k)},ADD,{'SELL' if side else 'BUY'},{900_000 + k},,{tick}0,7000"
        for k, (side, tick) in enumerate([(SELL, 1001), (BUY, 1002), (BUY, 700), (SELL, 1300)])
    ]
    orders.append(f"1,1,{clock(-300_000)},TRADE,NONE,900001,900000,10010,7000")
    names = [f"{side}{n}_{what}" for side in ("bid", "ask") for n in range(1, 11) for what in
             ("px", "qty")]  # fmt: skip
    shown = ["time,last_px,num_trades,volume," + ",".join(names)]
    ms, taker, due = 0, 0, 3000
    for row, book, following in zip(
        venue.rows, venue.books, [*venue.rows[1:], ("END", 0, 0, 0, 0, 0)], strict=True
    ):
        what, side, order, other, tick, lots = row
        if not (what == "FILL" and other == taker):
            ms += 120
        taker = other if what == "FILL" else 0
        word, at = ("BUY", "SELL")[side], clock(ms)
        if what == "FILL":
            buyer, seller = (other, order) if side == SELL else (order, other)
            aggressor = ("SELL", "BUY")[side]
            orders.append(f"1,1,{at},TRADE,{aggressor},{buyer},{seller},{tick}0,{lots}000")
        else:
            event = {"ADD": "ADD", "DELETE": "DELETE", "CANCEL": "DELETE"}[what]
            orders.append(f"1,1,{at},{event},{word},{order},,{tick}0,{lots}000")
        if ms > due and not (following[0] == "FILL" and following[3] == taker != 0):
            due = ms + 3000
            bids, asks = book
            cells = [
                f"{t}0,{n}000"
                for side_levels in (
                    sorted([*bids, (700, 7)], reverse=True),
                    sorted([*asks, (1300, 7)]),
                )
                for t, n in levels_of(side_levels, 10)
            ]
            shown.append(f"{clock(ms + late_ms)[:-2]},0,0,0," + ",".join(cells))
    written(folder, "\n".join(shown) + "\n", "600000_2023-02-07_snapshots.csv")
    return written(folder, "\n".join(orders) + "\n", "600000_2023-02-07_orders_trades.csv")


def clock(ms):
    """Milliseconds after 09:30 in digits of hours to hundredths; without a leading zero."""
    seconds, rest = divmod(34_200_000 + ms, 1000)
    return f"{seconds // 3600}{seconds // 60 % 60:02}{seconds % 60:02}{rest // 10:02}"
