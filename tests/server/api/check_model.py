#!/usr/bin/python3
"""Compares our shapes with the public service model that botocore carries.

    check_model.py SHAPES.json      (made by test_model.c)

Requests: every member of the model, nothing else, with the same type, required flag, limits, pattern
and enum. Responses: only members of the model, of the same type. Operations the installed model does
not have (agent-only ones, newer ones) are not compared. Exit status: 0, 1 with one line a difference,
77 if there is no model.
"""
import gzip
import json
import pathlib
import sys

# Where we differ on purpose: "Operation.Path" or "*.Path", and what differs. The reason stands behind.
ON_PURPOSE = {
    # Empty tag values are legal (protocol 6 §3.1); models before 2023 said min 1.
    "*.Tags.Value": {"min"},
    # A malformed id is InvalidActivationId, not ValidationException (protocol 6 §3.1).
    "DeleteActivation.ActivationId": {"pattern"},
    # In newer models (protocol 6, appendices A and B).
    "DescribeParameters.Shared": {"unknown"},
    "DescribeParameters.Parameters.ARN": {"unknown"},
    "DescribeSessions.Filters.key": {"enum"},
    "DescribeSessions.Sessions.AccessType": {"unknown"},
}

KINDS = {
    "string": {"string"},
    "boolean": {"boolean"},
    "integer": {"integer", "long"},
    "double": {"double", "float"},
    "timestamp": {"timestamp"},
    "structure": {"structure"},
}


def load_model():
    try:
        import botocore
    except ImportError:
        return None
    folder = pathlib.Path(botocore.__file__).parent / "data/ssm/2014-11-06"
    for name, opener in (("service-2.json", open), ("service-2.json.gz", gzip.open)):
        if (folder / name).exists():
            with opener(folder / name, "rt", encoding="utf-8") as f:
                return json.load(f)
    return None


class Checker:
    def __init__(self, model):
        self.shapes = model["shapes"]
        self.operations = model["operations"]
        self.found = []
        self.compared = 0

    def say(self, path, what, text):
        op, _, rest = path.partition(".")
        if what in ON_PURPOSE.get(path, ()) or what in ON_PURPOSE.get("*." + rest, ()):
            return
        self.found.append(f"{path}: {text}")

    def limits(self, path, ours, name):
        theirs = self.shapes[name]
        for what in ("min", "max", "pattern", "enum"):
            a, b = ours.get(what), theirs.get(what)
            if what == "enum":
                a, b = sorted(a or []), sorted(b or [])
            if (a or None) != (b or None):
                self.say(path, what, f"{what} is {a!r}, the model's {b!r}")

    def kind_fits(self, field, name):
        shape = self.shapes[name]
        kind = field["kind"]
        if kind == "any":
            return True
        if kind in KINDS:
            return shape["type"] in KINDS[kind]
        if shape["type"] == "list":
            inner = self.shapes[shape["member"]["shape"]]["type"]
            return (kind, inner) in (("strings", "string"), ("structures", "structure"))
        if shape["type"] == "map":
            inner = self.shapes[shape["value"]["shape"]]["type"]
            return (kind, inner) in (("strmap", "string"), ("listmap", "list"),
                                     ("intmap", "integer"), ("intmap", "long"))
        return False

    def field(self, path, field, name, request):
        shape = self.shapes[name]
        self.compared += 1
        if not self.kind_fits(field, name):
            self.say(path, "type", f"is {field['kind']}, the model's {shape['type']} ({name})")
            return
        if field["kind"] == "any":
            return
        if request:
            self.limits(path, field["self"], name)
            if field["kind"] == "strings":
                self.limits(path + "[]", field["elem"], shape["member"]["shape"])
            if field["kind"] in ("strmap", "listmap", "intmap"):
                self.limits(path + "<key>", field["map_key"], shape["key"]["shape"])
                value = self.shapes[shape["value"]["shape"]]
                if field["kind"] == "strmap":
                    self.limits(path + "<value>", field["elem"], shape["value"]["shape"])
                if field["kind"] == "listmap":
                    self.limits(path + "<value>[]", field["elem"], value["member"]["shape"])
        if "members" in field:
            inner = name if field["kind"] == "structure" else shape["member"]["shape"]
            self.structure(path, field["members"], inner, request)

    def structure(self, path, ours, name, request):
        shape = self.shapes[name]
        required = set(shape.get("required", ()))
        for key, field in ours.items():
            if key not in shape["members"]:
                self.say(f"{path}.{key}", "unknown", f"is not in the model's {name}")
                continue
            if request and field["required"] != (key in required):
                self.say(f"{path}.{key}", "required", f"required is {field['required']}")
            self.field(f"{path}.{key}", field, shape["members"][key]["shape"], request)
        for key in shape["members"]:
            if request and key not in ours:
                self.say(f"{path}.{key}", "missing", "is in the model and not here")

    def operation(self, name, op):
        theirs = self.operations[name]
        if "input" in theirs:
            self.structure(name, op["in"], theirs["input"]["shape"], True)
        if "output" in theirs:
            self.structure(name, op["out"], theirs["output"]["shape"], False)


def main():
    model = load_model()
    if not model:
        print("no botocore with a model of ssm is installed")
        return 77
    with open(sys.argv[1], encoding="utf-8") as f:
        ops = json.load(f)
    checker = Checker(model)
    known = [name for name in ops if name in checker.operations]
    for name in known:
        checker.operation(name, ops[name])
    for line in checker.found:
        print("  " + line)
    print(f"{len(known)} operations, {checker.compared} members compared, "
          f"{len(checker.found)} differences")
    return 1 if checker.found or not known else 0


if __name__ == "__main__":
    sys.exit(main())
