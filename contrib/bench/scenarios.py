"""The scenarios: one function each, which starts from a reset world and returns figures.

A figure is a number, or a list of times of which the report shows the median, the 99th percentile and the maximum.
Times are milliseconds."""

import os
import random
import shutil
import subprocess
import time

from world import GaveUp, wait_for

START = 30          # seconds after which a daemon that does not advertise everything is given up
SETTLE = 3          # seconds after that, before anything is measured


def steady(world, services, subject, interval, seconds):
    """CPU time and lateness of checks while all services are healthy."""
    with subject.start(world, services, interval) as program:
        try:
            settle(world, program, services, subject)
        except GaveUp:
            pass        # More than the machine can do: the share of checks run, and of routes, says so.
        begin, before = time.monotonic(), used(program)
        time.sleep(seconds)
        end, after = time.monotonic(), used(program)
        advertised = len(world.advertised()) / services * 100 if subject.has_routes else None
        memory, threads = program.status("VmRSS") / 1024, program.status("Threads")
    checks = [(when, service) for when, service, _ in world.checks(begin) if when < end]
    each = {name: (after[name] - before[name]) / max(1, len(checks)) for name in after}
    return {"checks": len(checks) * interval / (end - begin) / services * 100,
            "advertised": advertised, "cpu": each["own"] + each["children"], **each, "memory": memory,
            "threads": threads, "late": lateness(checks, interval)}


def idle(world, services, subject, seconds):
    """How often an almost idle program wakes."""
    with subject.start(world, services, 10) as program:
        settle(world, program, services, subject)
        begin, before = time.monotonic(), used(program)
        time.sleep(seconds)
        after = used(program)
        return {"checks": len(world.checks(begin)), "sleeps": after["sleeps"] - before["sleeps"],
                "own": after["own"] - before["own"]}


def failover(world, services, subject, cycles):
    """The route of one service, which goes down and up at random moments."""
    found, interval = {"down": [], "up": []}, 0.5
    with subject.start_failover(world, interval) as program:
        wait_advertised(world, program, services)
        for n in range(cycles * 2):
            failed = n % 2 == 0
            time.sleep(interval + random.uniform(0, interval))
            since = flip(world, failed)
            wait_for("the route to move", lambda: bool(world.advertised()) != failed, 30, 0.02)
            found["down" if failed else "up"] += overheads(world, since, failed, services)
    return found


def crash(world, services, subject, cycles):
    """Kills a service at random moments, and measures the time until its route is gone."""
    gone = []

    def begin_service():
        service = subprocess.Popen(["sleep", "infinity"])
        world.write("service.pid", f"{service.pid}\n")
        world.touch("flag")
        return service

    service = begin_service()
    with subject.start(world, services) as program:
        wait_advertised(world, program, services)
        for _ in range(cycles):
            time.sleep(1 + random.uniform(0, 1))
            since = flip(world, True)
            service.kill()
            service.wait()
            wait_for("the route to leave", lambda: not world.advertised(), 30, 0.02)
            gone.append((world.moved(since)[0][0] - since) * 1e3)
            service = begin_service()
            wait_advertised(world, program, services)
    service.kill()
    service.wait()
    return {"gone": gone}


def mass_failover(world, services, subject):
    """All services fail within one interval."""
    with subject.start(world, services) as program:
        settle(world, program, services, subject)
        reconfigured, since = world.reconfigured(), flip(world, True)
        wait_for("all routes to leave", lambda: not world.advertised(), 60, 0.2)
        time.sleep(1)
        return {"down": overheads(world, since, True, services), "last": (world.moved(since)[-1][0] - since) * 1e3,
                "reconfigured": world.reconfigured() - reconfigured}


def start_up(world, services, subject):
    """The time from the launch to the first check and to the last route, and a planned restart."""
    with subject.start(world, services) as program:
        wait_advertised(world, program, services)
        routes = [when for when, _, _ in world.moved(program.launched)]
        checks = [when for when, _, _ in world.checks(program.launched)]
        launched, stopped = program.launched, time.monotonic()
    with subject.start(world, services) as program:
        wait_for("all to be checked", lambda: len(first_notices(world.checks(program.launched))) == services, START)
        time.sleep(SETTLE)
        lost = sum(not came for _, _, came in world.moved(stopped))
    return {"first check": (min(checks) - launched) * 1e3, "all routes": (max(routes) - launched) * 1e3, "lost": lost}


def large_list(world, services, subject, prefixes):
    """One of several services changes while the list is long: `prefixes / services` of its prefixes."""
    each = prefixes // services
    number = iter(range(prefixes))
    sections = [{"ip_prefix": ", ".join(f"10.{128 + n // 65536}.{n // 256 % 256}.{n % 256}/32"
                                        for n in (next(number) for _ in range(each))),
                 "ip_check_disabled": "true", "check_interval": 600} for _ in range(services)]
    sections[0]["check_interval"] = 1
    with subject.start_on(world, sections) as program:
        def listed():
            return world.read("anycast-prefixes.conf").count("\n        10.")
        wait_for("all to be listed", lambda: listed() > prefixes, START)
        time.sleep(SETTLE)
        before, reconfigured = program.cpu()[0], world.reconfigured()
        flip(world, True)
        wait_for("the change", lambda: listed() == prefixes - each + 1, 30)
        time.sleep(0.4)
        found = {"own": (program.cpu()[0] - before) * 1e3, "reconfigures": world.reconfigured() - reconfigured}
        return {**found, **traced(world, program, lambda: listed() > prefixes)}


def traced(world, program, changed):
    """How often it opens the list to read and replaces it for one change, according to strace if it is installed."""
    if not shutil.which("strace"):
        return {"reads": None, "writes": None}
    trace = world.spawn(["strace", "-f", "-e", "trace=openat,/^rename", "-o", world.file("trace"),
                         "-p", str(program.pid)], "strace.log")
    wait_for("strace", lambda: "attached" in world.read("strace.log"), 30)
    time.sleep(0.5)
    flip(world, False)
    wait_for("the change", changed, 30)
    time.sleep(0.5)
    trace.terminate()
    trace.wait()
    calls = [line for line in world.read("trace").splitlines() if "/anycast-prefixes.conf\"" in line]
    return {"reads": sum("O_RDONLY" in call for call in calls), "writes": sum("rename" in call for call in calls)}


def used(program):
    """All resources used so far, in the units of the report."""
    own, children, kernel = (seconds * 1e3 for seconds in program.cpu())
    sleeps, interrupted = program.switches()
    return {"own": own, "children": children, "kernel": kernel, "faults": program.faults(), "sleeps": sleeps,
            "switches": sleeps + interrupted}


def settle(world, program, services, subject):
    """Waits for a steady state."""
    if subject.has_routes:
        wait_advertised(world, program, services)
    time.sleep(SETTLE)


def wait_advertised(world, program, services):
    try:
        wait_for("all to be advertised", lambda: len(world.advertised()) >= services or program.ended(), START)
    except GaveUp as gave_up:
        raise GaveUp(f"{gave_up} ({len(world.advertised())} of {services} were)") from None
    if program.ended():
        raise GaveUp("it ended: " + world.read("program.log")[-300:])


def lateness(checks, interval):
    """The delay of each check after its service's beat, which is the start of the earliest check.

    On the circle of one interval, the beat is at the end of the longest time without a check."""
    by_service = {}
    for when, service in checks:
        by_service.setdefault(service, []).append(when % interval)
    late = []
    for phases in by_service.values():
        phases.sort()
        gaps = [(phase - before) % interval for before, phase in zip(phases[-1:] + phases, phases)]
        beat = phases[gaps.index(max(gaps))]
        late += [(phase - beat) % interval * 1e3 for phase in phases]
    return late


def first_notices(checks):
    first = {}
    for when, service, _ in checks:
        first.setdefault(service, when)
    return first


def overheads(world, since, failed, services):
    """The time from the start of the check that saw the change to the move of the route, for each service."""
    noticed = first_notices(check for check in world.checks(since) if check[2] == failed)
    moved = {prefix: when for when, prefix, came in world.moved(since) if came != failed}
    return [(moved[world.prefixes[n]] - noticed[n]) * 1e3 for n in range(services)
            if n in noticed and world.prefixes[n] in moved]


def flip(world, failed):
    """Makes every check fail, or pass again."""
    since = time.monotonic()
    if failed:
        os.remove(world.file("flag"))
    else:
        world.touch("flag")
    return since
