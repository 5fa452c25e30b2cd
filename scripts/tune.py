"""Prints what this machine needs to hold so many connections, and sets it only with --apply, as root.

What is needed is asked of `myriapod doctor`, so the two cannot differ; flags that are not named below are passed on to
it. Only settings of the kernel are changed, none is ever lowered, and a second run finds nothing to do. Limits of
processes and of control groups belong to whoever starts the server: they are printed with what raises them.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import textwrap

import measure
from measure import Failure

PERMANENT = "/etc/sysctl.d/90-myriapod.conf"
# A range grows at both ends; of everything else more is more.
RANGES = {"net.ipv4.ip_local_port_range"}


class Setting:
    """One setting of the kernel, by the file that it is."""

    def __init__(self, root, check):
        self.key, self.why = check["sysctl"]["key"], check["why"]
        self.wanted = numbers(check["sysctl"]["to"])
        self.file = root / "proc" / "sys" / self.key.replace(".", "/")
        self.before = self.read()

    def read(self):
        return numbers(self.file.read_text())

    def widened(self):
        """What is wanted, or what there is by now where that is more."""
        now = self.read()
        best = [max(pair) for pair in zip(now, self.wanted)]
        if self.key in RANGES:
            best[0] = min(now[0], self.wanted[0])
        return best

    def apply(self):
        """Sets it; says what is wrong if that is not what it then is."""
        wanted = self.widened()
        try:
            self.file.write_text(spaced(wanted) + "\n")
        except OSError as error:
            return f"{self.key}: {error.strerror}; in a container it is set where that is started"
        now = self.read()
        return None if now == wanted else f"{self.key}: the kernel made it {spaced(now)}"

    def restore(self):
        """Puts back what was there."""
        self.file.write_text(spaced(self.before) + "\n")


def numbers(text):
    return [int(word) for word in text.split()]


def spaced(values):
    return " ".join(map(str, values))


def assignment(key, values):
    text = spaced(values)
    return f'{key}="{text}"' if " " in text else f"{key}={text}"


def binary():
    """The one that was named, that was built here, or that is installed."""
    if named := os.environ.get("MYRIAPOD"):
        return named
    release = measure.release("myriapod")
    for built in (release, release.parent.parent / "debug" / "myriapod"):
        if built.exists():
            return str(built)
    if installed := shutil.which("myriapod"):
        return installed
    raise Failure("there is no myriapod to ask; build it: cargo build --release, or name it: MYRIAPOD=path")


def examine(options):
    """What the doctor says, and whether the number fits."""
    asked = ["--connections", str(options.connections)] if options.connections else []
    command = [binary(), "doctor", "--json", "--host", options.host, *asked, *options.doctor_args]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode not in (0, 1) or not done.stdout:
        raise Failure("the doctor refused; its reason is above")
    return json.loads(done.stdout)


def settings_of(report, root):
    return [Setting(root, check) for check in report["checks"] if check["sysctl"]]


def grouped(count):
    return f"{count:_}".replace("_", " ")


def amount(count, unit):
    return f"{grouped(count >> 20)} MiB" if unit == "bytes" else grouped(count)


def tell_why(text):
    print(textwrap.fill(text, 100, initial_indent=" " * 6, subsequent_indent=" " * 6))


def tell_settings(settings, report):
    asked = f"{grouped(report['connections_asked'])} connections"
    if not settings:
        print(f"settings of the kernel: enough for {asked}, nothing to do")
        return
    print(f"settings of the kernel for {asked}:")
    for setting in settings:
        print(f"  {setting.key}: {spaced(setting.before)} -> {spaced(setting.wanted)}")
        tell_why(setting.why)


def tell_limits(report):
    """What binds and is no setting of the kernel."""
    for check in report["checks"]:
        if check["verdict"] == "binds" and not check["sysctl"]:
            here, wanted = (amount(check[which], check["unit"]) for which in ("here", "wanted"))
            print(f"\nnot to be set here: {check['name']} is {here}, wanted {wanted}")
            tell_why(check["why"])
            for remedy in check["remedies"]:
                print(f"      {remedy['place']}: {remedy['command']}")


def tell_fit(report):
    asked, possible = report["connections_asked"], report["connections_possible"]
    fits = "fit" if report["fits"] else f"do not fit, {grouped(possible)} do"
    print(f"\n{grouped(asked)} connections {fits}; first limit: {report['first_limit']}")
    if possible >= report["reactors"]:
        connections = min(asked, possible)
        print(f"start it so: myriapod --reactors {report['reactors']} --max-connections {connections}")


def tell_permanent(settings):
    print(f"\nto have it after a restart too, put this into {PERMANENT}:\n")
    for setting in settings:
        print(f"    {setting.key} = {spaced(setting.wanted)}")


def tell_undo(settings):
    print("\nto undo it:\n")
    for setting in settings:
        print(f"    sysctl -w {assignment(setting.key, setting.before)}")


def apply(settings, options):
    """Sets all of them and tells how it went; what could not be set is a failure at the end."""
    if settings and options.host == "/" and os.geteuid() != 0:
        raise Failure("--apply changes settings of the kernel; run it as root")
    problems = [problem for setting in settings if (problem := setting.apply())]
    changed = [setting for setting in settings if setting.read() != setting.before]
    if changed:
        print("\nset:")
        for setting in changed:
            print(f"    {assignment(setting.key, setting.read())}")
        tell_permanent(changed)
        tell_undo(changed)
    return problems


def main():
    options = parse()
    root = pathlib.Path(options.host)
    report = examine(options)
    settings = settings_of(report, root)
    tell_settings(settings, report)
    problems = []
    if options.apply:
        problems = apply(settings, options)
        report = examine(options)
    elif settings:
        print("\nnothing was changed; as root, --apply sets them until the next restart")
        tell_permanent(settings)
    tell_limits(report)
    tell_fit(report)
    if problems:
        raise Failure("; ".join(problems))


def parse():
    parser = argparse.ArgumentParser(
        prog="scripts/tune.sh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--connections", type=int, help="how many are to be held (as the doctor: a million)")
    parser.add_argument("--apply", action="store_true", help="set what is needed")
    parser.add_argument("--host", default="/", metavar="DIR", help="where the machine's /proc and /sys are")
    options, options.doctor_args = parser.parse_known_args()
    return options


if __name__ == "__main__":
    measure.run(main)
