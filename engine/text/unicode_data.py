#!/usr/bin/env python3
"""unicode_data.py - prints unicode_data.c: the tables behind unicode.c, from Python's own Unicode database. Part of the build."""
import sys
import unicodedata as u

CATEGORY = {'Cc': 'CONTROL', 'Cf': 'CONTROL', 'Cs': 'CONTROL', 'Co': 'CONTROL', 'M': 'MARK', 'P': 'PUNCTUATION', 'S': 'SYMBOL_SIGN'}


def category(point):
    c = u.category(chr(point))
    return CATEGORY.get(c) or CATEGORY.get(c[0])


def ranges(value_of):
    """(first, last, value) of every stretch with one value that is not None"""
    out, start, value = [], 0, None
    for point in range(0x110001):
        v = value_of(point) if point < 0x110000 else None
        if v != value:
            if value is not None: out.append((start, point - 1, value))
            start, value = point, v
    return out


def table(declaration, rows):
    print('const %s = {' % declaration)
    line = '   '
    for row in rows:
        word = ' {%s},' % ', '.join(x if isinstance(x, str) else '0x%x' % x for x in row)
        if len(line) + len(word) > 100:
            print(line)
            line = '   '
        line += word
    print(line + '\n};\nconst size_t n_%s = %d;\n' % (declaration.split(' ')[-1].rstrip('[]'), len(rows)))


def lower(point):
    low = chr(point).lower()
    return ord(low) if len(low) == 1 else point


def decomposition(point):
    """the canonical one, one step; () when there is none"""
    words = u.decomposition(chr(point)).split()
    return () if not words or words[0][0] == '<' else tuple(int(w, 16) for w in words)


def composes(point, parts):
    return len(parts) == 2 and u.normalize('NFC', chr(parts[0]) + chr(parts[1])) == chr(point)


print('// made by engine/text/unicode_data.py: Unicode %s\n#include "text/unicode_data.h"\n' % u.unidata_version)
table('struct unicode_range unicode_categories[]', ranges(category))
table('struct unicode_range unicode_classes[]', ranges(lambda p: u.combining(chr(p)) or None))
table('struct unicode_pair unicode_lowers[]', [(p, lower(p)) for p in range(0x110000) if not 0xd800 <= p < 0xe000 and lower(p) != p])
parts = [(p, decomposition(p)) for p in range(0x110000) if decomposition(p)]
table('struct unicode_parts unicode_decompositions[]', [(p, d[0], d[1] if len(d) > 1 else 0) for p, d in parts])
table('struct unicode_parts unicode_compositions[]', sorted(((p, *d) for p, d in parts if composes(p, d)), key=lambda r: (r[1], r[2])))
sys.stdout.flush()
