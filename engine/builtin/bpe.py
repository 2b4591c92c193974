"""bpe.py - a byte-level BPE vocabulary: training, encoding, decoding.

Text is cut by qwen2's pre-tokenizer expression (digits one by one), every piece becomes UTF-8 bytes
written in GPT-2's printable alphabet, and the learnt merges are applied inside the piece, lowest
rank first.  The expression here is written for Python's re ([^\\W\\d_] for \\p{L}, \\d for \\p{N}):
the same for the ASCII text that we train on, not for all of Unicode.  The engine has the exact one.

Token ids: 0..255 the bytes in GPT-2's order, then one token a merge, then the special tokens and
the marks of tool calls.
"""
import heapq
import re

PRE = re.compile(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|(?:[^\r\n\w]|_)?[^\W\d_]+|\d|"
                 r" ?(?:[^\s\w]|_)+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIALS = ['<|endoftext|>', '<|im_start|>', '<|im_end|>']
# the marks of template.jinja, one token each: whether it calls is then decided at one token
MARKS = ['<tools>', '</tools>', '<tool_call>', '</tool_call>', '<tool_response>',
         '</tool_response>']


def byte_chars():
    """GPT-2's reversible map from bytes to printable characters"""
    bs = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    cs, n = bs[:], 0
    for b in range(256):
        if b not in bs:
            bs.append(b)
            cs.append(256 + n)
            n += 1
    return dict(zip(bs, map(chr, cs)))


def train(texts, n_merges, merges=()):
    """the n_merges most useful merges, greedily (ties by name: only the text decides); `merges` come
    first as they are"""
    bc, words, known = byte_chars(), {}, Bpe(merges)
    for text in texts:
        for w in PRE.findall(text):
            k = tuple(bc[b] for b in w.encode())
            words[k] = words.get(k, 0) + 1
    ws, cnt = [known.parts(k) for k in words], list(words.values())
    pairs, where = {}, {}
    for i, w in enumerate(ws):
        for p in zip(w, w[1:]):
            pairs[p] = pairs.get(p, 0) + cnt[i]
            where.setdefault(p, set()).add(i)
    heap = [(-c, p) for p, c in pairs.items()]
    heapq.heapify(heap)
    merges, toks = list(known.merges), set(known.tokens)
    while heap and len(merges) < n_merges:
        c, p = heapq.heappop(heap)
        if pairs.get(p, 0) != -c:
            if pairs.get(p, 0) > 0:
                heapq.heappush(heap, (-pairs[p], p))
            continue
        touched = set()
        for i in sorted(where.pop(p, ())):
            w, j, out = ws[i], 0, []
            for q in zip(w, w[1:]):
                pairs[q] -= cnt[i]
                touched.add(q)
            while j < len(w):
                if j + 1 < len(w) and w[j] == p[0] and w[j + 1] == p[1]:
                    out.append(p[0] + p[1])
                    j += 2
                else:
                    out.append(w[j])
                    j += 1
            ws[i] = out
            for q in zip(out, out[1:]):
                pairs[q] = pairs.get(q, 0) + cnt[i]
                where.setdefault(q, set()).add(i)
                touched.add(q)
        pairs.pop(p, None)
        for q in touched:
            if pairs.get(q, 0) > 0:
                heapq.heappush(heap, (-pairs[q], q))
        if p[0] + p[1] not in toks:              # two merges may build one token: keep the first
            toks.add(p[0] + p[1])
            merges.append(p)
    return merges


class Bpe:
    def __init__(self, merges):
        self.bc = byte_chars()
        self.merges = [tuple(m) for m in merges]
        self.tokens = [self.bc[b] for b in sorted(self.bc)] + [a + b for a,
                                                               b in self.merges] + SPECIALS + MARKS
        self.ids = {t: i for i, t in enumerate(self.tokens)}
        self.rank = {m: i for i, m in enumerate(self.merges)}
        self.eot, self.im_start, self.im_end = (self.ids[s] for s in SPECIALS)
        self.cache = {}
        self.whole = re.compile('(%s)' % '|'.join(map(re.escape, SPECIALS + MARKS)))

    def parts(self, chars):
        """the tokens of a piece's characters, by the merges"""
        parts = list(chars)
        while len(parts) > 1:
            r, i = min((self.rank.get(p, 1 << 30), i) for i, p in enumerate(zip(parts, parts[1:])))
            if r == 1 << 30:
                break
            parts[i:i + 2] = [parts[i] + parts[i + 1]]
        return parts

    def piece(self, w):
        got = self.cache.get(w)
        if got is None:
            got = self.cache[w] = [self.ids[p] for p in self.parts(self.bc[b] for b in w.encode())]
        return got

    def encode(self, text):
        return [i for w in PRE.findall(text) for i in self.piece(w)]

    def decode(self, ids):
        back = {c: b for b, c in self.bc.items()}
        return b''.join(t.encode() if self.whole.fullmatch(t) else bytes(back[c] for c in t)
                        for t in (self.tokens[i] for i in ids)).decode(errors='replace')

    def chat(self, text):
        """a rendered conversation -> (ids, learn, ends); learn[i] is 1 for what the assistant writes
        and its <|im_end|>; ends: the indices behind the ends of lines, where more text may stand"""
        ids, learn, ends, own, head = [], [], [], False, False
        for part in self.whole.split(text):
            if not part:
                continue
            new = [self.ids[part]] if part in self.ids and self.whole.match(part) else None
            if head:                                # of a message: its role, the first line
                role, part = part.split('\n', 1)
                header = self.encode(role + '\n')
                ids += header
                learn += [0] * len(header)
                head, own = False, role == 'assistant'
            new = new or self.encode(part)
            ids += new
            learn += [int(own)] * len(new)
            if part == '<|im_start|>':
                head = True
            elif part == '<|im_end|>':
                own = False
            elif '\n' in part:
                ends += [len(ids) - len(new) + i + 1 for i, t in enumerate(new)
                         if self.tokens[t].endswith(self.bc[10])]
        return ids, learn, ends
