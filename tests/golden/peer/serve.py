#!/usr/bin/env python3
"""serve.py - our server beside llama.cpp's, the same model on the same device, alternating, in one run.

  serve.py [--device cpu|llvmpipe|vulkan] [--models small256,qwen3b] [--types Q4_K_M] [--clients 1,4,16] [-p 256] [-n 64] [-r 3] [--layers N]
           [--speculation]

Runs inside the peer's root (peer/run --serve ...). For each number of clients and each repetition both servers are started in turn,
the one first that was second before; each client streams one completion of n tokens to a prompt of about p, all at once, no two prompts
beginning alike. Told are medians over clients and repetitions, and ours / the peer's (for the first token: its time, so less is better):

  first     ms from the request to the first text
  a stream  tokens a second of one client, from its first text to its last. Who has its first text while the prompts of others are still
            computed streams beside that work; a server that answers nobody before it has read all prompts has no such time
  together  the same, from when the last client had its first text: nothing but answers is computed then
  whole     tokens a second of one client, from its request to its last text: what it waits for in all
  in all    tokens a second of all clients, from the first request to the last end

Ours speaks TLS, the peer plain HTTP. The weights are random and so the answers repeat themselves, of which our guessing ahead would make
more than a real model's text allows: it is off unless --speculation is given.
"""
import argparse, http.client, json, os, shutil, signal, socket, ssl, statistics, subprocess, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor

FIGURES = ('first', 'a stream', 'together', 'whole', 'in all')
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]
import cases
from compare import peer_version
from speed import TAWNY, WORK, model_of


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Ours:
    def __init__(self, model, a, n_clients, n_ctx):
        self.port, self.state = free_port(), tempfile.mkdtemp()
        command = [TAWNY, 'serve', '--model', model, '--device', a.device, '--state', self.state, '--listen', '127.0.0.1:%d' % self.port,
                   '--listen-http', '', '--parallel', str(n_clients), '--ctx', str(n_ctx), '--log', 'info',
                   '--speculation', 'auto' if a.speculation else 'off']
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=open(WORK + '/serve-ours.log', 'w'))

    def connect(self):
        context = ssl.create_default_context(cafile=self.state + '/tls/ca.crt')
        return http.client.HTTPSConnection('127.0.0.1', self.port, timeout=600, context=context)

    def headers(self):
        return {'Authorization': 'Bearer ' + open(self.state + '/api-key').read().strip()}

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        shutil.rmtree(self.state, ignore_errors=True)


class Peer:
    def __init__(self, model, a, n_clients, n_ctx):
        self.port = free_port()
        where = ['--device', 'none'] if a.device == 'cpu' else ['-ngl', '99', '-fa', 'on']
        env = dict(os.environ, GGML_VK_VISIBLE_DEVICES='' if a.device == 'cpu' else '0')
        command = ['llama-server', '-m', model, '--host', '127.0.0.1', '--port', str(self.port), '-np', str(n_clients), '-c', str(n_ctx * n_clients),
                   '-t', str(os.cpu_count()), *where]
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=open(WORK + '/serve-peer.log', 'w'))

    def connect(self):
        return http.client.HTTPConnection('127.0.0.1', self.port, timeout=600)

    def headers(self):
        return {}

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def wait(server):
    until = time.time() + 300
    while time.time() < until and server.process.poll() is None:
        try:
            connection = server.connect()
            connection.request('GET', '/health')
            if connection.getresponse().status == 200: return
        except (OSError, http.client.HTTPException): pass
        time.sleep(0.2)
    sys.exit('%s did not become ready: see %s' % (type(server).__name__, WORK))


def ask(server, prompt, n, out):
    """(began, when each text came, ended, tokens of the prompt) is added to out."""
    connection = server.connect()
    connection.connect()
    body = {'prompt': prompt, 'max_tokens': n, 'temperature': 0, 'ignore_eos': True, 'stream': True, 'stream_options': {'include_usage': True}}
    began, texts, usage = time.monotonic(), [], None
    connection.request('POST', '/v1/completions', json.dumps(body), dict(server.headers(), **{'Content-Type': 'application/json'}))
    answer = connection.getresponse()
    if answer.status != 200: raise SystemExit('%s: %d %s' % (type(server).__name__, answer.status, answer.read()[:300]))
    for line in answer:
        if not line.startswith(b'data: {'): continue
        event = json.loads(line[6:])
        if 'error' in event: raise SystemExit('%s: %s' % (type(server).__name__, event))
        usage = event.get('usage') or usage
        if any(choice.get('text') for choice in event.get('choices') or []):
            texts.append(time.monotonic())
    if not usage or usage['completion_tokens'] != n: raise SystemExit('%s: %d tokens were wanted: %s' % (type(server).__name__, n, usage))
    out.append((began, texts, time.monotonic(), usage['prompt_tokens']))
    connection.close()


def all_at_once(server, prompts, n):
    found = []
    with ThreadPoolExecutor(len(prompts)) as pool:
        for asked in [pool.submit(ask, server, prompt, n, found) for prompt in prompts]: asked.result()  # raises what stopped it
    return found


def measure(server, prompts, n):
    """The figures, each a list of one a client, and the tokens of the prompts."""
    wait(server)
    all_at_once(server, ['Warm ' + prompt for prompt in prompts], 4)  # kernels for such passes are compiled then, not measured
    found = all_at_once(server, prompts, n)
    server.stop()
    if len(found) != len(prompts): sys.exit('%s: %d of %d answers' % (type(server).__name__, len(found), len(prompts)))
    took = max(f[2] for f in found) - min(f[0] for f in found)
    all_begun = max(texts[0] for _, texts, _, _ in found)
    behind = [[t for t in texts if t > all_begun] for _, texts, _, _ in found]  # a text may be more than one token, or less
    return {'first': [1e3 * (texts[0] - began) for began, texts, _, _ in found],
            'a stream': [(n - 1) / max(texts[-1] - texts[0], 1e-6) for _, texts, _, _ in found],
            'together': [n * len(b) / len(f[1]) / (b[-1] - all_begun) for b, f in zip(behind, found) if b],
            'whole': [n / (texts[-1] - began) for began, texts, _, _ in found],
            'in all': [n * len(found) / took], 'prompts': sorted(f[3] for f in found)}


def compare(model, a, n_clients, label):
    words = cases.corpus()
    n_chars = a.p * 4
    n_ctx = (3 * n_chars + a.n + 255) // 256 * 256  # a character of the corpus may be three tokens of a small vocabulary
    got = {Ours: [], Peer: []}
    for r in range(a.r):
        at = [(r * n_clients + i) * 997 % max(1, len(words) - n_chars) for i in range(n_clients)]
        prompts = ['%d %s' % (r * n_clients + i, words[k:k + n_chars]) for i, k in enumerate(at)]
        for kind in ((Ours, Peer), (Peer, Ours))[r % 2]: got[kind].append(measure(kind(model, a, n_clients, n_ctx), prompts, a.n))
    if [g['prompts'] for g in got[Ours]] != [g['prompts'] for g in got[Peer]]: print('  the prompts have other tokens: %s, %s' % (got[Ours][0]['prompts'], got[Peer][0]['prompts']))
    cells = []
    for name in FIGURES:
        ours, peer = (statistics.median(x for g in got[kind] for x in g[name]) if any(g[name] for g in got[kind]) else float('nan') for kind in (Ours, Peer))
        cells.append(('%7.0f %7.0f %5.2f' if name == 'first' else '%7.1f %7.1f %5.2f') % (ours, peer, ours / peer))
    print(' | '.join([label, *cells, '; '.join('%.1f / %.1f' % (x['in all'][0], y['in all'][0]) for x, y in zip(got[Ours], got[Peer]))]), flush=True)


def main():
    ap = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    ap.add_argument('--device', default='cpu'); ap.add_argument('--models', default='small256'); ap.add_argument('--types', default='Q4_K_M')
    ap.add_argument('--clients', default='1,4,16'); ap.add_argument('-p', type=int, default=256); ap.add_argument('-n', type=int, default=64)
    ap.add_argument('-r', type=int, default=3); ap.add_argument('--layers', type=int, default=0); ap.add_argument('--speculation', action='store_true')
    a = ap.parse_args()
    os.makedirs(WORK, exist_ok=True)
    print('peer:', peer_version())
    print('figures: ours, the peer\'s, their ratio; the first in ms, the others in tok/s; at the end each repetition in all')
    print(' | '.join(['%-9s %-7s %-9s %7s' % ('model', 'type', 'device', 'clients'), *('%21s' % name for name in FIGURES), 'in all, each']))
    for shape in a.models.split(','):
        for kind in a.types.split(','):
            model = model_of(shape, kind, a.layers)
            for n_clients in map(int, a.clients.split(',')):
                compare(model, a, n_clients, '%-9s %-7s %-9s %7d' % (shape, kind, a.device, n_clients))


if __name__ == '__main__':
    main()
