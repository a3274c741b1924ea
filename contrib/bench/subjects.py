"""The programs to measure: the floor, this daemon and the original, with options for each figure."""

import os
import shutil

from world import Program


class Floor:
    """The least work with which any program gets the same result. Its checks move routes only in a failover."""

    has_routes = False

    def __init__(self, name, program):
        self.name, self.program = name, program

    def start(self, world, services, interval=1):
        """Starts it with the first `services` services."""
        return Program(world, [self.program, "checks", str(services), str(interval),
                               *map(world.file, ("checks", "flag", "probe"))])

    def start_failover(self, world, interval):
        """Starts it with the first service, so that it moves the route."""
        world.list(world.prefixes[:1], "up.conf")
        world.list([], "down.conf")
        files = map(world.file, ("checks", "flag", "probe", "anycast-prefixes.conf", "up.conf", "down.conf"))
        return Program(world, [self.program, "failover", str(interval), *files, *world.reconfigure()])


class Daemon:
    """This daemon or the original, with its own options for the section [daemon] and for each service."""

    has_routes = True

    def __init__(self, name, program, service=None, **daemon):
        self.name, self.program, self.service, self.daemon = name, program, service or {}, daemon

    def start(self, world, services, interval=1):
        """Starts it with the first `services` services."""
        return self.start_on(world, [{"ip_prefix": prefix, "check_interval": interval}
                                     for prefix in world.prefixes[:services]])

    def start_failover(self, world, interval):
        return self.start(world, 1, interval)

    def start_on(self, world, services):
        """Starts it with services that have these additional options."""
        daemon = {
            "pidfile": world.file("daemon.pid"), "bird_conf": world.file("anycast-prefixes.conf"),
            "bird_reconfigure_cmd": " ".join(world.reconfigure()), "ipv6": "false", "loglevel": "info",
            "log_file": world.file("daemon.log"), "log_maxbytes": 104857600, **self.daemon,
        }
        usual = {"interface": "lo", "check_timeout": 5, "check_rise": 1, "check_fail": 1, "check_disabled": "false",
                 "ip_check_disabled": "false", "on_disabled": "withdraw", **self.service}
        probe = " ".join(map(world.file, ("probe", "checks", "flag")))
        sections = {f"service{n}": {**usual, "check_cmd": f"{probe} {n}", **service}
                    for n, service in enumerate(services)}
        os.makedirs(world.file("services.d"), exist_ok=True)
        world.write("daemon.conf", ini({"daemon": daemon}))
        world.write("services.d/services.conf", ini(sections))
        return Program(world, [self.program, "-f", world.file("daemon.conf"), "-d", world.file("services.d")])


def ini(sections):
    return "".join(f"[{name}]\n" + "".join(f"{option} = {value}\n" for option, value in options.items())
                   for name, options in sections.items())


def find_original():
    path = shutil.which("anycast-healthchecker")
    if path is None:
        return None
    with open(path, "rb") as file:
        return path if b"python" in file.readline() else None
