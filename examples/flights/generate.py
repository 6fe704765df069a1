#!/usr/bin/env python3
"""Makes up a data directory for the flights example: any month, any mess.

    python3 generate.py OUT_DIR --month 2016-02 --seed 1 --shuffle --gzip --malformed 20

The same arguments give the same files. Planes include some without seats, departures some whose
plane or carrier is unknown, airline names some that need quoting. Needs nothing but Python 3's
standard library.
"""

import argparse
import calendar
import gzip
import random
from datetime import datetime, timedelta
from pathlib import Path

HEADER = ("year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,"
          "flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour").split(",")
ORIGINS = ["EWR", "JFK", "LGA"]
AIRLINES = [
    ("9E", "Endeavor Air Inc."), ("AA", "American, the Airline"), ("B6", 'The "Blue" One'),
    ("DL", "Délta ✈ Lines"), ("UA", "United Air Lines Inc."), ("WN", "Southwest Airlines Co."),
]
UNKNOWN_CARRIER = "Z9"


def quoted(text):
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"') else text


def delay_of(rng, stormy):
    if rng.random() < 0.005:
        return rng.randint(300, 1301)
    if stormy:
        return rng.randint(40, 240)
    if rng.random() < 0.2:
        return rng.randint(16, 120)
    return rng.randint(-15, 15)


def departure(rng, day, planes, stormy):
    scheduled = day + timedelta(minutes=rng.randrange(5 * 60, 24 * 60))
    # New York without daylight saving: good enough to cross midnight in UTC.
    hour_utc = scheduled.replace(minute=0) + timedelta(hours=5)
    delay = delay_of(rng, (day.day, scheduled.hour) in stormy)
    left = scheduled + timedelta(minutes=delay)
    chance = rng.random()
    tailnum = "NA" if chance < 0.02 else f"N{rng.randrange(900)}ZZ" if chance < 0.1 else rng.choice(planes)
    carrier = UNKNOWN_CARRIER if rng.random() < 0.03 else rng.choice(AIRLINES)[0]
    row = {
        "year": day.year, "month": day.month, "day": day.day,
        "dep_time": left.hour * 100 + left.minute, "sched_dep_time": scheduled.hour * 100 + scheduled.minute,
        "dep_delay": delay, "arr_time": 1200, "sched_arr_time": 1200, "arr_delay": delay + rng.randint(-20, 20),
        "carrier": carrier, "flight": rng.randrange(1, 6000), "tailnum": tailnum, "origin": rng.choice(ORIGINS),
        "dest": rng.choice(["IAH", "MIA", "ATL", "ORD", "SJU"]), "air_time": 150, "distance": 1000,
        "hour": scheduled.hour, "minute": scheduled.minute, "time_hour": hour_utc.isoformat() + "Z",
    }
    if rng.random() < 0.02:
        row["dep_time"] = row["dep_delay"] = row["arr_delay"] = rng.choice(["NA", ""])
    elif rng.random() < 0.01:
        row["arr_delay"] = "NA"
    return row


def malform(rng, row):
    """One of the ways in which a row can be useless; returns its line."""
    values = {name: str(value) for name, value in row.items()}
    if values["dep_time"] in ("NA", "") or values["arr_delay"] == "NA":
        return "not,a,departure"
    name, value = rng.choice([
        ("dep_delay", "late"), ("dep_delay", "NA"), ("dep_delay", "99999999999"), ("minute", "60"),
        ("minute", ""), ("time_hour", "2016-13-01T00:00:00Z"), ("time_hour", "yesterday"), ("month", "0"),
        ("day", "1_1"), ("year", "20l6"), ("origin", ""), ("carrier", "NA"), ("dest", "too,many"),
        ("tailnum", '"N1'), ("arr_delay", "12.5"),
    ])
    values[name] = value
    return ",".join(values.values())


def departures(args, rng, planes):
    year, month = map(int, args.month.split("-"))
    days = calendar.monthrange(year, month)[1]
    stormy = {(rng.randint(1, days), hour) for hour in range(6, 20, 3)}
    lines = []
    for number in range(1, days + 1):
        day = datetime(year, month, number)
        rows = [departure(rng, day, planes, stormy) for _ in range(args.per_day)]
        rows.sort(key=lambda row: str(row["dep_time"]).zfill(4))
        lines += [",".join(str(row[name]) for name in HEADER) for row in rows]
    for _ in range(args.malformed):
        row = departure(rng, datetime(year, month, 1), planes, stormy)
        lines.insert(rng.randrange(len(lines) + 1), malform(rng, row))
    if args.shuffle:
        rng.shuffle(lines)
    return lines


def write(args, name, lines):
    data = (args.newline.join(lines) + args.newline).encode("utf-8")
    if args.gzip:
        (args.out / f"{name}.csv.gz").write_bytes(gzip.compress(data, mtime=0))
    else:
        (args.out / f"{name}.csv").write_bytes(data)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--month", default="2014-07", metavar="YYYY-MM")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-day", type=int, default=150, metavar="FLIGHTS")
    parser.add_argument("--malformed", type=int, default=0, metavar="ROWS")
    parser.add_argument("--shuffle", action="store_true", help="rows in no order at all")
    parser.add_argument("--gzip", action="store_true")
    parser.add_argument("--crlf", dest="newline", action="store_const", const="\r\n", default="\n")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(args.seed)

    seats = {f"N{number}GR": rng.choice(["NA", "2", "55", "182", "330"]) for number in range(300)}
    write(args, "planes", ["tailnum,year,seats"] + [f"{tail},NA,{n}" for tail, n in seats.items()])
    write(args, "airlines", ["carrier,name"] + [f"{code},{quoted(name)}" for code, name in AIRLINES])
    write(args, "airports", ["faa,name,lat,lon"] + [f"{code},{code} Airport,40,-73" for code in ORIGINS])
    write(args, "flights", [",".join(HEADER)] + departures(args, rng, list(seats)))


if __name__ == "__main__":
    main()
