"""Checks of scripts in Python: a line each, and a last line that tests/run reads (see tests/lib.sh)."""
from avro.datafile import DataFileReader
from avro.io import DatumReader

_counts = {"ok": 0, "not ok": 0, "skip": 0}


def _line(kind, name, why=""):
    _counts[kind] += 1
    print("%s %s%s" % (kind, name, ": " + why if why else ""), flush=True)


def ok(name):
    _line("ok", name)


def not_ok(name, why):
    _line("not ok", name, why)


def skip(name, why):
    _line("skip", name, why)


def check(name, differences):
    """Passes when there are no differences."""
    if differences:
        not_ok(name, "; ".join(differences)[:600])
    else:
        ok(name)


def equal(name, expected, actual):
    check(name, [] if expected == actual else ["expected %.200s, got %.200s" % (expected, actual)])


def attempt(name, function, *arguments):
    """A check that ends in a traceback is one that failed, and the others go on."""
    try:
        function(name, *arguments)
    except Exception as error:  # pylint: disable=broad-except
        not_ok(name, "%s: %s" % (type(error).__name__, error))


def tally():
    """Prints the last line. Returns the exit status."""
    text = "%d passed, %d failed" % (_counts["ok"], _counts["not ok"])
    print(text + (", %d skipped" % _counts["skip"] if _counts["skip"] else ""))
    return 1 if _counts["not ok"] else 0


def read_flows(path):
    """Flows and markers of a flow file, by a reader that is not ours."""
    with open(path, "rb") as handle:
        records = list(DataFileReader(handle, DatumReader()))
    markers = [record for record in records if "closed_through" in record]
    return [record for record in records if "closed_through" not in record], markers


def per_class(flows):
    """Packets by class, with the names of rules.md (a symbol cannot hold their dot)."""
    found = {}
    for flow in flows:
        name = flow["class"].replace("_", ".", 1)
        found[name] = found.get(name, 0) + flow["packets"]
    return found


def unbalanced(markers):
    """Markers whose books do not balance."""
    return [
        "books of minute %s do not balance" % marker["minute"]
        for marker in markers
        if marker["frames"] != marker["non_ip"] + marker["malformed"] + marker["not_dark"] + marker["counted"]
    ]
