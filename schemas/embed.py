#!/usr/bin/env python3
"""Turns text files into C headers with one string constant.

  embed.py schema OUT.h FLOW.avsc MARKER.avsc   the union of both schemas, without documentation
  embed.py text OUT.h NAME FILE                 the file as it is
"""
import json
import sys


def without_doc(node):
    if isinstance(node, dict):
        return {key: without_doc(value) for key, value in node.items() if key != "doc"}
    if isinstance(node, list):
        return [without_doc(value) for value in node]
    return node


def constant(name, text):
    lines = [json.dumps(line + "\n", ensure_ascii=True) for line in text.split("\n")]
    return "static const char %s[] =\n%s;\n" % (name, "\n".join("\t" + line for line in lines))


def main(words):
    kind, out = words[0], words[1]
    if kind == "schema":
        union = [without_doc(json.load(open(path, encoding="utf-8"))) for path in words[2:]]
        text = json.dumps(union, separators=(",", ":"))
        body = "static const char SCHEMA_TEXT[] =\n"
        body += "\n".join("\t" + json.dumps(text[i : i + 80]) for i in range(0, len(text), 80)) + ";\n"
    else:
        body = constant(words[2], open(words[3], encoding="utf-8").read())
    with open(out, "w", encoding="utf-8") as handle:
        handle.write("/* made by schemas/embed.py */\n#pragma once\n\n" + body)


main(sys.argv[1:])
