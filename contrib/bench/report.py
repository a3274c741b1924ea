"""What was found, as a table in Markdown and a plot in SVG."""

import math

COLOURS = {"floor": "#888888", "this daemon": "#1f77b4", "this daemon, debug log": "#17becf", "original": "#d62728"}


class Found:
    """All figures. CPU and times are milliseconds, memory MiB."""

    def __init__(self, options, machine):
        self.options, self.machine = options, machine
        self.steady, self.mass, self.start, self.herd = {}, {}, {}, {}
        self.failover = {}

    def write(self):
        with open(self.options.table, "w") as file:
            file.write(self.table())
        if self.steady:
            with open(self.options.plot, "w") as file:
                file.write(plot(self.steady))

    def table(self):
        options = self.options
        text = (f"{self.machine}. Rounds: {options.rounds}, in each of which every program had its turn; figures are the medians.\n"
                "\"kernel\" is its part of both as the clock ticks of the kernel see it, which miss much of programs that "
                "run for less than one.\n")
        if self.steady:
            text += table("One check a second and service, all well",
                          ["services", "program", "checks run, %", "CPU per check, ms", "of the floor", "own", "checks'",
                           "kernel", "memory, MiB", "threads", "late, ms: median", "99 %", "most"],
                          [row for count, found in self.steady.items() for row in steady_rows(count, found)])
        if self.failover:
            text += table("One service fails or recovers: from the start of the check to the route's move, ms",
                          ["program", "down: median", "99 %", "most", "up: median", "99 %", "most"],
                          [[name, *(failed(result) or numbers(result["down"]) + numbers(result["up"]))]
                           for name, result in self.failover.items()])
        if self.mass:
            text += table("All fail within a second: from the start of each one's check to its route's move, ms",
                          ["services", "program", "median", "99 %", "most", "reconfigures"],
                          [[count, name, *(failed(result) or [*numbers(result["down"]), number(result["reconfigured"])])]
                           for count, found in self.mass.items() for name, result in found.items()])
        if self.start:
            text += table("Start, from the launch, ms", ["services", "program", "first check", "last route"],
                          [[count, name, *(failed(result) or [number(result["first check"]), number(result["all routes"])])]
                           for count, found in self.start.items() for name, result in found.items()])
        if self.herd:
            rows = []
            for count, found in self.herd.items():
                for what, key, field in (("SIGURG: after the signal", "SIGURG", "begun"),
                                         ("with splay_startup = 1: late", "splay", "lateness")):
                    rows.append([count, what, *(failed(found[key]) or numbers(found[key][field]))])
            text += table("Beginnings of checks, ms", ["services", "what", "median", "99 %", "most"], rows)
        return text


def steady_rows(count, found):
    floor = found.get("floor", {}).get("cpu")
    for name, result in found.items():
        if "failed" in result:
            yield [count, name, result["failed"]]
            continue
        ratio = f"{result['cpu'] / floor:.2f}" if floor else ""
        yield [count, name, f"{result['checks']:.0f}", f"{result['cpu']:.3f}", ratio, f"{result['own']:.3f}",
               f"{result['children']:.3f}", f"{result['kernel']:.3f}", f"{result['memory']:.1f}",
               f"{result['threads']:.0f}", *numbers(result["lateness"])]


def failed(result):
    return [result["failed"]] if "failed" in result else None


def numbers(spread):
    return [number(value) for value in spread] if spread else ["", "", ""]


def number(value):
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def table(title, columns, rows):
    lines = [f"\n### {title}\n", columns, ["---"] * len(columns)]
    lines += [row + [""] * (len(columns) - len(row)) for row in map(list, rows)]
    return "\n".join(line if isinstance(line, str) else f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def plot(steady):
    """CPU per check and memory against the number of services, both axes logarithmic."""
    panels = [panel(0, "CPU per check, ms", steady, lambda found: found["cpu"]),
              panel(420, "resident memory, MiB", steady, lambda found: found["memory"])]
    names = list(dict.fromkeys(name for found in steady.values() for name in found))
    legend = "".join(f'<rect x="{60 + 200 * n}" y="306" width="12" height="12" fill="{COLOURS[name]}"/>'
                     f'<text x="{78 + 200 * n}" y="316">{name}</text>\n' for n, name in enumerate(names))
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 840 330" font-family="sans-serif" font-size="12">\n'
            f'<rect width="840" height="330" fill="white"/>\n{"".join(panels)}{legend}</svg>\n')


def panel(left, title, steady, value):
    """One pair of axes, 340 by 220."""
    lines = {}
    for count, found in steady.items():
        for name, result in found.items():
            if "failed" not in result and value(result) > 0:
                lines.setdefault(name, []).append((count, value(result)))
    values = [y for points in lines.values() for _, y in points]
    low, high = (round_to(function, values) for function in (math.floor, math.ceil))
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


def round_to(function, values):
    """The power of ten below the least, or above the greatest; never the same for both."""
    power = function(math.log10(min(values) if function is math.floor else max(values)))
    return power + (function is math.ceil and power == math.floor(math.log10(min(values))))
