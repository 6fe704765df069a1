#!/usr/bin/env python3
"""Computes what the flights example must write, without the grid.

    python3 expect.py DATA_DIR OUT_DIR

Reads flights, planes and airlines (`NAME.csv`, else `NAME.csv.gz`) from DATA_DIR and writes
`hourly.csv`, `carriers.csv` and `anomalies.csv` to OUT_DIR. It groups everything in memory: no
stream, no watermark, no order of arrival. Counts of rows go to standard error.

Needs nothing but Python 3's standard library.
"""

import csv
import gzip
import math
import re
import sys
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path

INTEGER = re.compile(r"[+-]?[0-9]+(\.0+)?")
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
HOURS_BEFORE_FLAGGING = 48


def missing(text):
    return text in ("", "NA")


def integer(text, low=-(2**31), high=2**31 - 1):
    if not INTEGER.fullmatch(text):
        raise ValueError(f"not an integer: {text!r}")
    value = int(text.split(".")[0])
    if not low <= value <= high:
        raise ValueError(f"out of range: {text!r}")
    return value


def present(text):
    if missing(text):
        raise ValueError("a needed value is missing")
    return text


def read(folder, name, use):
    """Calls `use(row)` for each row of a file; a ValueError means a malformed row."""
    path = folder / f"{name}.csv"
    if not path.exists():
        path = folder / f"{name}.csv.gz"
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")

    def fields(line):
        # A quoted value never goes on in the next line, so that a stray quote costs one row.
        parsed = list(csv.reader([line.decode("utf-8").removesuffix("\r")], strict=True))
        return parsed[0] if parsed else []

    header, malformed = fields(lines[0]), 0
    for line in lines[1:]:
        if line in (b"", b"\r"):
            continue
        try:
            values = fields(line)
            if len(values) != len(header):
                raise ValueError("wrong number of fields")
            use(dict(zip(header, values)))
        except (ValueError, OverflowError, csv.Error):
            malformed += 1
    return malformed


def read_planes(folder):
    seats = {}

    def use(row):
        known = None if missing(row["seats"]) else integer(row["seats"], low=0)
        seats[present(row["tailnum"])] = known

    return seats, read(folder, "planes", use)


def read_airlines(folder):
    names = {}

    def use(row):
        names[present(row["carrier"])] = present(row["name"])

    return names, read(folder, "airlines", use)


def read_departures(folder):
    """Returns [(time, delay, carrier, origin, tailnum)], rows skipped, rows malformed."""
    departures, skipped = [], 0

    def use(row):
        nonlocal skipped
        if missing(row["dep_time"]) or missing(row["arr_delay"]):
            skipped += 1
            return
        integer(row["dep_time"])
        integer(row["arr_delay"])
        integer(row["year"])
        integer(row["month"], 1, 12)
        integer(row["day"], 1, 31)
        minute = integer(row["minute"], 0, 59)
        delay = integer(row["dep_delay"])
        if not TIME.fullmatch(row["time_hour"]):
            raise ValueError("not a time")
        hour = datetime.strptime(row["time_hour"], TIME_FORMAT)
        time = hour + timedelta(minutes=minute + delay)
        departures.append((time, delay, present(row["carrier"]), present(row["origin"]), row["tailnum"]))

    malformed = read(folder, "flights", use)
    return departures, skipped, malformed


def hourly(departures, seats):
    """(origin, hour) -> (flights, sum of delays, seats, unknown planes)"""
    windows = defaultdict(lambda: [0, 0, 0, 0])
    for time, delay, _, origin, tailnum in departures:
        window = windows[origin, time.replace(minute=0, second=0)]
        window[0] += 1
        window[1] += delay
        if not missing(tailnum) and tailnum in seats:
            window[2] += seats[tailnum] or 0
        else:
            window[3] += 1
    return windows


def carriers(departures):
    """(carrier, day) -> delays"""
    windows = defaultdict(list)
    for time, delay, carrier, _, _ in departures:
        windows[carrier, time.replace(hour=0, minute=0, second=0)].append(delay)
    return windows


def anomalies(hours):
    """Yields (origin, hour, mean, expected, sigma). Welford's method, in window order per origin."""
    running = {}
    for (origin, hour), (flights, total, _, _) in sorted(hours.items()):
        new = total / flights
        count, mean, squares = running.get(origin, (0, 0.0, 0.0))
        if count >= HOURS_BEFORE_FLAGGING:
            sigma = math.sqrt(squares / (count - 1))
            if new > mean + 3.0 * sigma:
                yield origin, hour, new, mean, sigma
        count += 1
        delta = new - mean
        mean += delta / count
        squares += delta * (new - mean)
        running[origin] = count, mean, squares


def quoted(text):
    if any(c in text for c in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def stamp(time):
    # Not strftime: its %Y does not pad years before 1000 everywhere.
    return time.isoformat(timespec="seconds") + "Z"


def write(folder, name, header, rows):
    lines = [header] + [",".join(row) for row in rows]
    (folder / name).write_bytes("".join(line + "\n" for line in lines).encode("utf-8"))


def main():
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} DATA_DIR OUT_DIR")
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    seats, bad_planes = read_planes(data)
    names, bad_airlines = read_airlines(data)
    departures, skipped, malformed = read_departures(data)
    out.mkdir(parents=True, exist_ok=True)

    hours = hourly(departures, seats)
    write(out, "hourly.csv", "origin,window_start,flights,mean_dep_delay,seats,unknown_planes", (
        (quoted(origin), stamp(hour), str(n), "%.2f" % (total / n), str(sum_seats), str(unknown))
        for (origin, hour), (n, total, sum_seats, unknown) in sorted(hours.items())))
    write(out, "carriers.csv", "carrier,name,window_start,flights,delayed_share,max_dep_delay", (
        (quoted(carrier), quoted(names.get(carrier, carrier)), stamp(day), str(len(delays)),
         "%.4f" % (sum(d > 15 for d in delays) / len(delays)), str(max(delays)))
        for (carrier, day), delays in sorted(carriers(departures).items())))
    write(out, "anomalies.csv", "origin,window_start,mean_dep_delay,expected,sigma", (
        (quoted(origin), stamp(hour), "%.2f" % mean, "%.2f" % expected, "%.2f" % sigma)
        for origin, hour, mean, expected, sigma in anomalies(hours)))
    print(f"flights: {len(departures)} used, {skipped} skipped, {malformed} malformed; "
          f"planes: {bad_planes} malformed; airlines: {bad_airlines} malformed", file=sys.stderr)


if __name__ == "__main__":
    main()
