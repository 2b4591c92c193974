#!/usr/bin/env python3
"""score.py - asks an OpenAI-style server the held-out questions and counts the right answers.

    score.py --url https://ADDRESS --cacert ca.crt --key KEY [--min-skills 95] [--min-questions 0]
             [--heldout FILE] [--limit N] [--jobs N] [--show]

Works with any server that has POST /v1/chat/completions (plain http:// too, for another engine's).
Decoding is greedy (temperature 0). A line of heldout.jsonl: skill, messages, answer (what the
model was taught to say) and must, the regular expression that a right answer contains.
heldout_calls.jsonl also has tools, and in the place of must may have calls: the names and arguments
that must come back, no more and no fewer, in any order; `distraction` is text around the system
message, which calls.py makes. That file is for models that have learnt calls (gguf.learnt). --limit
takes every skill's first N only. One line per skill goes to stdout, then the sums; exit status 1
if the share of the skills, or of the questions (qa and unknown), is below its minimum. Standard
library only (and calls.py).
"""
import argparse
import http.client
import json
import os
import re
import ssl
import sys
import threading
import time
import urllib.parse

import calls

QUESTIONS = ('qa', 'unknown')


class Server:
    """one keep-alive connection"""

    def __init__(self, url, cacert, key):
        u = urllib.parse.urlsplit(url)
        self.path = u.path.rstrip('/').removesuffix('/v1') + '/v1/chat/completions'
        self.headers = {'Content-Type': 'application/json'}
        if key:
            self.headers['Authorization'] = 'Bearer ' + key
        if u.scheme == 'https':
            trust = ssl.create_default_context(cafile=cacert)
            self.http = http.client.HTTPSConnection(u.hostname, u.port or 443, timeout=600,
                                                    context=trust)
        else:
            self.http = http.client.HTTPConnection(u.hostname, u.port or 80, timeout=600)

    def ask(self, test, model):
        """the message that comes back"""
        body = {'model': model, 'messages': calls.lengthen(test), 'temperature': 0,
                'max_tokens': 120}
        if test.get('tools'):
            body['tools'] = test['tools']
        for m in body['messages']:                       # on the wire arguments are text
            if 'tool_calls' in m:
                m['tool_calls'] = [dict(c, function=dict(c['function'], arguments=json.dumps(
                    c['function']['arguments']))) for c in m['tool_calls']]
        self.http.request('POST', self.path, json.dumps(body), self.headers)
        r = self.http.getresponse()
        text = r.read()
        if r.status != 200:
            raise RuntimeError('HTTP %d from %s: %s' % (r.status, self.path,
                                                        text[:300].decode(errors='replace')))
        return json.loads(text)['choices'][0]['message']


def is_right(test, message):
    called = message.get('tool_calls') or []
    if 'calls' not in test:
        return not called and re.search(test['must'], (message.get('content') or '').strip(),
                                        re.S) is not None
    try:
        got = [(c['function']['name'], json.loads(c['function']['arguments'])) for c in called]
    except ValueError:                                   # cut off, or no JSON
        return False
    want = [(c['name'], c['arguments']) for c in test['calls']]
    return len(got) == len(want) and all(got.count(w) == want.count(w) for w in want)


def main():
    ap = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter,
                                 description=__doc__)
    ap.add_argument('--url', required=True)
    ap.add_argument('--cacert')
    ap.add_argument('--key')
    ap.add_argument('--model', default='builtin')
    ap.add_argument('--heldout', default=os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                                      'heldout.jsonl'))
    ap.add_argument('--min-skills', type=float, default=95.0, help='percent')
    ap.add_argument('--min-questions', type=float, default=0.0, help='percent')
    ap.add_argument('--limit', type=int)
    ap.add_argument('--jobs', type=int, default=1, help='connections at the same time')
    ap.add_argument('--show', action='store_true', help='print what was wrong')
    a = ap.parse_args()
    with open(a.heldout) as f:
        tests = [json.loads(line) for line in f]
    if a.limit:
        skills = {t['skill'] for t in tests}
        tests = [t for s in sorted(skills) for t in [t for t in tests if t['skill'] == s][:a.limit]]
    got, errors, lock, todo = {}, [], threading.Lock(), iter(tests)

    def work():
        try:
            server = Server(a.url, a.cacert, a.key)
            while True:
                with lock:
                    t = next(todo, None)
                if t is None or errors:
                    return
                reply = server.ask(t, a.model)
                ok = is_right(t, reply)
                with lock:
                    s = got.setdefault(t['skill'], [0, 0])
                    s[0] += ok
                    s[1] += 1
                    if a.show and not ok:
                        print('wrong %-8s %s\n      wanted  %s\n      got     %s' % (
                            t['skill'], t['messages'][-1]['content'], t.get('calls', t['answer']),
                            reply.get('tool_calls') or reply['content']))
        except (OSError, RuntimeError, ValueError, KeyError, http.client.HTTPException) as e:
            errors.append('%s: %s' % (type(e).__name__, e))

    t0 = time.time()
    threads = [threading.Thread(target=work) for _ in range(a.jobs)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        sys.exit('score: could not finish: ' + errors[0])
    for k in sorted(got):
        print('%-9s %3d of %3d' % (k, *got[k]))
    fail = not got
    for name, kinds, least in (('skills', [k for k in got if k not in QUESTIONS], a.min_skills),
                               ('questions', [k for k in got if k in QUESTIONS], a.min_questions)):
        good, n = sum(got[k][0] for k in kinds), sum(got[k][1] for k in kinds)
        if not n:                          # the file asks no such thing
            continue
        share = 100.0 * good / n
        fail |= share < least
        print('%-9s %3d of %3d  %.1f %% (at least %.1f %% wanted)' % (name, good, n, share, least))
    print('%.1f s' % (time.time() - t0))
    return 1 if fail else 0


if __name__ == '__main__':
    sys.exit(main())
