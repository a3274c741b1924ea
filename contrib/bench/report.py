"""The results, as tables in Markdown and a plot in SVG."""

import math
import os
import statistics

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE, PLOT = os.path.join(HERE, "../../docs/performance.md"), os.path.join(HERE, "plot.svg")
COLOURS = {"floor": "#888888", "this daemon": "#1f77b4", "original": "#d62728"}

SPREAD = ["median", "99 %", "most"]
# Each part: its description, the columns, and the figures of a row.
TABLES = {
    "steady": ("All is well",
               ["checks run, %", "advertised, %", "CPU per check, ms", "of the floor", "own", "checks'", "kernel",
                "page faults", "switches", "memory, MiB", "threads", "late, ms: median", *SPREAD[1:]],
               lambda found, floor: [whole(found["checks"]), whole(found["advertised"]), f"{found['cpu']:.3f}",
                                     ratio(found, floor),
                                     *(f"{found[name]:.3f}" for name in ("own", "children", "kernel", "faults")),
                                     f"{found['switches']:.1f}", f"{found['memory']:.1f}", whole(found["threads"]),
                                     *spread(found["late"])]),
    "idle": ("One service, checked every 10 s, for 30 s", ["checks", "wake-ups", "own CPU time, ms"],
             lambda found, _: [whole(found["checks"]), whole(found["sleeps"]), number(found["own"])]),
    "failover": ("One service fails, or recovers",
                 ["fails, ms: median", *SPREAD[1:], "recovers, ms: median", *SPREAD[1:]],
                 lambda found, _: [*spread(found["down"]), *spread(found["up"])]),
    "crash": ("One service is killed", ["ms: median", *SPREAD[1:]], lambda found, _: spread(found["gone"])),
    "mass": ("All services fail", ["ms: median", *SPREAD[1:], "last route gone, ms", "reconfigures"],
             lambda found, _: [*spread(found["down"]), number(found["last"]), whole(found["reconfigured"])]),
    "start": ("Start, and planned restart", ["first check, ms", "last route, ms", "routes lost by a restart"],
              lambda found, _: [number(found["first check"]), number(found["all routes"]), whole(found["lost"])]),
    "large": ("10,000 prefixes in the list, 100 a service: one service fails",
              ["own CPU time, ms", "reconfigures", "opened to read", "replaced"],
              lambda found, _: [number(found["own"]),
                                *(whole(found[name]) for name in ("reconfigures", "reads", "writes"))]),
}


def show(setting, found):
    """All results as text."""
    return setting + "\n" + "".join(f"\n### {TABLES[part][0]}\n\n{table(part, found[part])}" for part in found)


def publish(setting, found):
    """Writes the results between their marks in docs/performance.md, and draws the plot."""
    with open(PAGE) as file:
        text = file.read()
    for mark, new in {"setting": setting + "\n", **{part: table(part, found[part]) for part in found}}.items():
        begin, end = f"<!-- benchmark {mark}: begin -->\n", f"<!-- benchmark {mark}: end -->\n"
        before, rest = text.split(begin)
        text = before + begin + new + end + rest.split(end)[1]
    with open(PAGE, "w") as file:
        file.write(text)
    if any(interval == 1 for _, interval in found.get("steady", {})):
        with open(PLOT, "w") as file:
            file.write(plot(found["steady"]))


def table(part, results):
    _, columns, figures = TABLES[part]
    columns = ["services", "program", *columns]
    rows = [columns, ["---"] * len(columns)]
    for (count, interval), of_all in results.items():
        services = f"{count:,}" + (f", every {interval} s" if interval != 1 else "")
        for name, found in of_all.items():
            cells = [found["failed"]] if "failed" in found else figures(found, of_all.get("floor", {}))
            rows.append([services, name, *cells, *[""] * (len(columns) - len(cells) - 2)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def ratio(found, floor):
    return f"{found['cpu'] / floor['cpu']:.2f}" if floor.get("cpu") else ""


def spread(times):
    """Median, 99th percentile and maximum."""
    times = sorted(times)
    if not times:
        return ["", "", ""]
    return [number(statistics.median(times)), number(percentile_99(times)), number(times[-1])]


def percentile_99(times):
    return times[min(len(times) - 1, len(times) * 99 // 100)]


def whole(value):
    return "" if value is None else f"{value:.0f}"


def number(value):
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def plot(steady):
    """CPU time and lateness by the number of services that are checked once a second, on logarithmic axes."""
    steady = {count: results for (count, interval), results in steady.items() if interval == 1}
    values = {"CPU per check, ms": lambda found: found["cpu"],
              "resident memory, MiB": lambda found: found["memory"],
              "late, 99th percentile, ms": lambda found: percentile_99(sorted(found["late"]) or [0])}
    panels = "".join(panel(420 * n, title, steady, value) for n, (title, value) in enumerate(values.items()))
    legend = "".join(f'<rect x="{60 + 200 * n}" y="306" width="12" height="12" fill="{colour}"/>'
                     f'<text x="{78 + 200 * n}" y="316">{name}</text>\n'
                     for n, (name, colour) in enumerate(COLOURS.items()))
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1260 330" font-family="sans-serif" font-size="12">\n'
            f'<rect width="1260" height="330" fill="white"/>\n{panels}{legend}</svg>\n')


def panel(left, title, steady, value):
    """One pair of axes, 340 by 220."""
    lines = {}
    for count, results in steady.items():
        for name in COLOURS:
            found = results.get(name, {"failed": True})
            if "failed" not in found and value(found) > 0:
                lines.setdefault(name, []).append((count, value(found)))
    values = [y for points in lines.values() for _, y in points]
    low, high = math.floor(math.log10(min(values))), math.floor(math.log10(max(values))) + 1
    first, last = (math.log10(function(steady)) for function in (min, max))

    def x(count):
        return left + 60 + 340 * (math.log10(count) - first) / ((last - first) or 1)

    def y(number):
        return 260 - 220 * (math.log10(number) - low) / (high - low)

    text = f'<text x="{left + 60}" y="24" font-weight="bold">{title}</text>\n'
    for power in range(low, high + 1):
        text += (f'<path d="M{left + 60} {y(10 ** power):.1f}h340" stroke="#dddddd"/>'
                 f'<text x="{left + 54}" y="{y(10 ** power) + 4:.1f}" text-anchor="end">{10 ** power:g}</text>\n')
    for count in steady:
        text += f'<text x="{x(count):.1f}" y="278" text-anchor="middle">{count:,}</text>\n'
    text += f'<text x="{left + 230}" y="296" text-anchor="middle">services</text>\n'
    for name, points in lines.items():
        path = " ".join(f"{x(count):.1f},{y(number):.1f}" for count, number in points)
        text += f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>\n'
        text += "".join(f'<circle cx="{x(count):.1f}" cy="{y(number):.1f}" r="3" fill="{COLOURS[name]}"/>'
                        for count, number in points) + "\n"
    return text
