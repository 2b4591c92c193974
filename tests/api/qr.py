"""Reads a QR code of level M (ISO/IEC 18004), of the versions that an address takes: what the server draws is read back by other code."""

BLOCKS = {3: (1, 44), 4: (2, 32), 5: (2, 43), 6: (4, 27)}  # version -> blocks, data bytes of each
MASKS = (lambda y, x: (y + x) % 2, lambda y, x: y % 2, lambda y, x: x % 3, lambda y, x: (y + x) % 3, lambda y, x: (y // 2 + x // 3) % 2,
         lambda y, x: y * x % 2 + y * x % 3, lambda y, x: (y * x % 2 + y * x % 3) % 2, lambda y, x: ((y + x) % 2 + y * x % 3) % 2)


def read(rows):
    """The text of rows of '0' and '1'. The squares are taken as they are: nothing is repaired."""
    n = len(rows)
    version, square = (n - 17) // 4, [[int(c) for c in row] for row in rows]
    finder = ["1111111", "1000001", "1011101", "1011101", "1011101", "1000001", "1111111"]
    for y, x in ((0, 0), (0, n - 7), (n - 7, 0)):
        assert [row[x:x + 7] for row in rows[y:y + 7]] == finder, "no finder pattern at %d, %d" % (y, x)
    known = [(8, x) for x in (0, 1, 2, 3, 4, 5, 7, 8)] + [(y, 8) for y in (7, 5, 4, 3, 2, 1, 0)]
    form = int("".join(str(square[y][x]) for y, x in known), 2) ^ 0x5412
    assert form >> 13 == 0, "not of level M"
    mask = MASKS[form >> 10 & 7]

    def taken(y, x):
        corner = (y < 9 and (x < 9 or x >= n - 8)) or (y >= n - 8 and x < 9)
        return corner or y == 6 or x == 6 or (abs(y - (n - 7)) <= 2 and abs(x - (n - 7)) <= 2)

    bits, up, x = [], True, n - 1
    while x > 0:
        x -= x == 6
        for y in (range(n - 1, -1, -1) if up else range(n)):
            bits += [square[y][c] ^ (mask(y, c) == 0) for c in (x, x - 1) if not taken(y, c)]
        up, x = not up, x - 2
    n_blocks, n_each = BLOCKS[version]
    code = [int("".join(map(str, bits[i:i + 8])), 2) for i in range(0, 8 * n_blocks * n_each, 8)]
    data = bytes(b for k in range(n_blocks) for b in code[k::n_blocks])
    whole = int.from_bytes(data, "big")
    assert data[0] >> 4 == 4, "not of bytes"
    length = (whole >> (8 * len(data) - 12)) & 255
    return (whole >> (8 * len(data) - 12 - 8 * length) & ((1 << 8 * length) - 1)).to_bytes(length, "big").decode()
