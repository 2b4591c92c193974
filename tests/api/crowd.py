#!/usr/bin/env python3
"""crowd.py - a crowd without a key against one client with it, on a live server.

  crowd.py --url https://127.0.0.1:8443 --ca STATE/tls/ca.crt --key STATE/api-key [--connections 48] [--seconds 4]

What a request without the key costs is its head: it is answered before a byte of its body is read. While many clients
post bodies without the key that never end, drip bodies at the slowest rate allowed, connect and connect again, or read
their answers slowly, a stream with the key comes as evenly as alone and /health answers. The crowd is a process of its
own with the lowest priority, on 127.0.0.2: what it takes of the processor itself is not the server's doing. Prints the
gaps between tokens, alone and beside each crowd, and ends with "crowd: N passed, N failed"; exit status 1 when one failed.
"""
import argparse
import asyncio
import json
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument('--url', required=True, help='https://127.0.0.1:PORT')
parser.add_argument('--ca', required=True)
parser.add_argument('--key', required=True, help='file with the API key')
parser.add_argument('--connections', type=int, default=48)
parser.add_argument('--seconds', type=float, default=4)
parser.add_argument('--pid', type=int, help="the server's: then what its net thread takes of a core is told too")
parser.add_argument('--crowd', help='be this crowd (the script starts itself so)')
args = parser.parse_args()
HOST, PORT = re.fullmatch(r'https://([^:/]+):(\d+)/?', args.url).groups()
PORT = int(PORT)
KEY = open(args.key).read().strip().encode()
CONTEXT = ssl.create_default_context(cafile=args.ca)
CROWD_FROM = '127.0.0.2'
BODY = 8 << 20
MISSING = 24  # bytes of a body that never come
CROWD_SHARE = 0.2  # of a core: what one address without a key may cost is half of it
SERVED_S = 5  # a new connection with the key
FILL_S = 30  # a crowd has so long to send its bodies
passed = failed = 0


def check(good, what, found=''):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    if not good:
        print(f'FAILED: {what}: {found}', flush=True)
    return good


def head(method, path, *fields):
    return b'\r\n'.join([b'%b %b HTTP/1.1' % (method.encode(), path.encode()), b'Host: a', *fields, b'', b''])


def with_key(key=KEY):
    return b'Authorization: Bearer ' + key


def length(n):
    return b'Content-Length: %d' % n


EXPECT = b'Expect: 100-continue'

# ---- the crowds: coroutines that come again until the time is over ---------------------------------------------------


async def connect():
    return await asyncio.open_connection(HOST, PORT, ssl=CONTEXT, server_hostname=HOST, local_addr=(CROWD_FROM, 0))


n_full = 0  # bodies of which all was sent but their end


async def post_bodies(until, fields, rate):
    """A body that lacks its end, as fast as it goes or at `rate` bytes a second."""
    global n_full
    reader, writer = await connect()
    writer.write(head('POST', '/v1/chat/completions', length(BODY), *fields))
    sent, piece = 0, b' ' * (65536 if rate is None else 128)
    while time.monotonic() < until and sent < BODY - MISSING and not reader.at_eof():
        piece = piece[:BODY - MISSING - sent]
        writer.write(piece)
        await writer.drain()
        sent += len(piece)
        if rate:
            await asyncio.sleep(len(piece) / rate)
    n_full += sent == BODY - MISSING
    while time.monotonic() < until and await asyncio.wait_for(reader.read(65536), until - time.monotonic()):
        pass
    writer.close()


async def reconnect(until, address=CROWD_FROM):
    """Handshakes, one after the other, each with a request without a key."""
    reader, writer = await asyncio.open_connection(HOST, PORT, ssl=CONTEXT, server_hostname=HOST, local_addr=(address, 0))
    writer.write(head('GET', '/v1/models'))
    await asyncio.wait_for(reader.read(4096), until - time.monotonic())
    writer.close()


async def read_slowly(until):
    """A pipeline of requests whose answers are read at 100 bytes a second."""
    reader, writer = await asyncio.open_connection(HOST, PORT, ssl=CONTEXT, server_hostname=HOST, limit=1024,
                                                   local_addr=(CROWD_FROM, 0))
    writer.write(head('GET', '/notices') * 20 + head('GET', '/v1/models') * 500)
    while time.monotonic() < until and await reader.read(10):
        await asyncio.sleep(0.1)
    writer.close()


async def empty_records(until):
    """Records of no bytes where a hello is expected, as fast as they go."""
    reader, writer = await asyncio.open_connection(HOST, PORT, local_addr=(CROWD_FROM, 0))
    while time.monotonic() < until and not reader.at_eof():
        writer.write(b'\x16\x03\x03\0\0' * 13000)
        await writer.drain()
    writer.close()


async def read_much(until):
    """A long answer after the other, each read at once."""
    reader, writer = await connect()
    while time.monotonic() < until and not reader.at_eof():
        writer.write(head('GET', '/notices') * 8)
        await writer.drain()
        for _ in range(64):
            await asyncio.wait_for(reader.read(1 << 20), until - time.monotonic())
    writer.close()


CROWDS = {
    'bodies without a key': lambda until: post_bodies(until, (), None),
    'bodies without a key, awaiting 100': lambda until: post_bodies(until, (EXPECT,), None),
    'dripping bodies without a key': lambda until: post_bodies(until, (), 110),
    'dripping bodies with the key': lambda until: post_bodies(until, (with_key(),), 110),
    'handshakes and 401s': reconnect,
    'handshakes from 19 addresses': lambda until: reconnect(until, '127.0.0.%d' % random.randint(2, 20)),
    'slow readers without a key': read_slowly,
    'records of no bytes': empty_records,
    'readers of much': read_much,
}


async def crowd(name):
    """Says "there" when its bodies are sent or refused; at SIGTERM, how many connections have ended."""
    until = time.monotonic() + args.seconds + FILL_S + 30
    n_ended = 0

    async def one():
        nonlocal n_ended
        while time.monotonic() < until:
            try:
                await asyncio.wait_for(CROWDS[name](until), until - time.monotonic())
            except (OSError, ssl.SSLError, asyncio.TimeoutError):
                await asyncio.sleep(0.01)
            n_ended += 1

    async def tell():
        began = time.monotonic()
        while name.startswith(('bodies', 'handshakes')) and n_full + n_ended < min(args.connections, 12) and \
                time.monotonic() < began + FILL_S:
            await asyncio.sleep(0.1)
        print('there', flush=True)

    def end(*_):
        print(n_ended, flush=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)

    await asyncio.gather(tell(), *(one() for _ in range(args.connections)), return_exceptions=True)


# ---- the client with the key -----------------------------------------------------------------------------------------


def tls(timeout=20):
    s = socket.create_connection((HOST, PORT), timeout=timeout)
    return CONTEXT.wrap_socket(s, server_hostname=HOST)


def stream_request():
    body = json.dumps({'stream': True, 'max_tokens': 300, 'temperature': 2, 'top_p': 1, 'seed': 1,
                       'messages': [{'role': 'user', 'content': 'Count from one to one hundred.'}]}).encode()
    return head('POST', '/v1/chat/completions', with_key(), b'Content-Type: application/json', length(len(body))) + body


def timed_streams(seconds):
    """Streams one after the other: (gaps in ms, sorted; streams; whether each came to its end)"""
    gaps, n, good, until = [], 0, True, time.monotonic() + seconds
    while time.monotonic() < until and good:
        s = tls(60)
        s.sendall(stream_request())
        data, last = b'', None
        while b'\r\n0\r\n\r\n' not in data[-2000:]:
            try:
                piece = s.recv(65536)
            except OSError as e:
                piece, data = b'', data + str(e).encode()
            if not piece:
                break
            now = time.monotonic()
            if b'data: ' in piece:
                if last:
                    gaps.append((now - last) * 1e3)
                last = now
            data += piece
        s.close()
        n += 1
        good = b'data: [DONE]' in data and b'"error"' not in data
        if not good:
            print(f'  the stream was cut: {data[-300:]!r}')
    return sorted(gaps), n, good


def new_connections(stop, times):
    """One after the other, with the key and without it by turns."""
    while not stop.is_set():
        began = time.monotonic()
        try:
            s = tls(10)
            s.sendall(head('GET', '/health') if len(times) % 2 else head('GET', '/v1/models', with_key()))
            times.append(time.monotonic() - began if s.recv(65536).startswith(b'HTTP/1.1 200 ') else None)
            s.close()
        except OSError as e:
            print(f'  a new connection: {e}')
            times.append(None)
        stop.wait(0.25)


def net_seconds():
    """Processor time of the net thread, which is the first one."""
    if not args.pid:
        return 0
    fields = open(f'/proc/{args.pid}/task/{args.pid}/stat').read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def figures(gaps):
    if not gaps:
        return 'none'
    at = [gaps[min(len(gaps) - 1, int(len(gaps) * q))] for q in (0.5, 0.99)]
    return f'{at[0]:.1f} / {at[1]:.1f} / {gaps[-1]:.0f} ms (median / 99 % / longest of {len(gaps)} gaps)'


def beside(name, alone, alone_busy):
    command = [sys.executable, __file__, '--url', args.url, '--ca', args.ca, '--key', args.key, '--crowd', name,
               '--connections', str(args.connections), '--seconds', str(args.seconds)]
    process = subprocess.Popen(['nice', '-n', '19', *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    there = process.stdout.readline()
    stop, times = threading.Event(), []
    checker = threading.Thread(target=new_connections, args=(stop, times))
    checker.start()
    busy, began = net_seconds(), time.monotonic()
    gaps, n, good = timed_streams(args.seconds)
    busy = (net_seconds() - busy) / (time.monotonic() - began)
    stop.set()
    checker.join()
    process.terminate()
    ended, errors = process.communicate(timeout=60)
    answered = [t for t in times if t is not None]
    print(f'  beside {args.connections} {name} ({ended.strip()} connections in {args.seconds:.0f} s): {figures(gaps)}; '
          f'{len(answered)} of {len(times)} new connections, slowest {max(answered, default=0) * 1e3:.0f} ms'
          + (f'; net thread {busy * 100:.0f} % of a core' if args.pid else ''), flush=True)
    check(there == 'there\n' and ended.strip().isdigit(), f'{name}: the crowd came', ended + errors[-500:])
    check(good and n, f'{name}: streams with the key come to their end', n)
    check(times and len(answered) == len(times) and max(answered) < SERVED_S, f'{name}: /health and who has the key are answered throughout', times)
    check(gaps and gaps[len(gaps) // 2] <= alone[len(alone) // 2] * 2 + 5,
          f'{name}: the median gap is no longer than alone (2 times + 5 ms)', figures(gaps))
    if args.pid and 'with the key' not in name and 'addresses' not in name:
        for_it = busy - alone_busy * max(1, len(gaps) / len(alone))  # what the streams themselves take grows with their tokens
        check(for_it <= CROWD_SHARE, f'{name}: the net thread takes no more than {CROWD_SHARE:.0%} of a core for it', for_it)
    check(gaps and gaps[int(len(gaps) * 0.99)] <= alone[int(len(alone) * 0.99)] * 3 + 100,
          f'{name}: 99 % of the gaps are no longer (3 times + 100 ms)', figures(gaps))


# ---- refusals from the head ------------------------------------------------------------------------------------------

CHAT = '/v1/chat/completions'
LONG = length(BODY - MISSING)
HEADS = [
    ('no key', head('POST', CHAT, LONG), 401),
    ('no key, awaiting 100', head('POST', CHAT, LONG, EXPECT), 401),
    ('no key, chunked', head('POST', CHAT, b'Transfer-Encoding: chunked'), 401),
    ('no key, beyond the cap', head('POST', CHAT, length(BODY + 1)), 401),
    ('a wrong key', head('POST', CHAT, LONG, EXPECT, with_key(b'tawny-wrong')), 401),
    ('POST / without a key', head('POST', '/', LONG, EXPECT), 405),
    ('POST /health without a key', head('POST', '/health', LONG), 405),
    ('PUT elsewhere without a key', head('PUT', '/secret', LONG), 401),
    ('no such path', head('POST', '/v1/nothing', LONG, EXPECT, with_key()), 404),
    ('wrong method', head('POST', '/v1/models', LONG, EXPECT, with_key()), 405),
    ('too long', head('POST', CHAT, length(BODY + 1), EXPECT, with_key()), 413),
    ('far too long', head('POST', CHAT, length(10 ** 15), with_key()), 413),
    ('a compressed body', head('POST', CHAT, LONG, b'Content-Encoding: gzip', with_key()), 415),
    ('no length', head('POST', CHAT, with_key()), 411),
    ('unknown expectation', head('POST', CHAT, LONG, b'Expect: 200-maybe', with_key()), 417),
    ('GET with a body', head('GET', '/health', LONG), 200),
]


def hear(s):
    try:
        return s.recv(65536)
    except OSError as e:
        return str(e).encode()


def refusals():
    for name, request, want in HEADS:
        s = tls(3)
        s.sendall(request)
        data = hear(s)
        rest = b'' if want == 411 else hear(s)
        check(data.startswith(b'HTTP/1.1 %d ' % want), f'head, {name}: {want} at once', data[:120])
        if want != 411:  # there, nothing is left to come
            check(b'Connection: close' in data and rest == b'', f'head, {name}: then closed', (data[:300], rest[:100]))
        s.close()
    # one that sends all of its body before it reads still reads why
    s = tls(20)
    s.sendall(head('POST', CHAT, length(BODY)))
    try:
        for _ in range(BODY >> 16):
            s.sendall(b' ' * 65536)
        data = hear(s)
    except OSError as e:
        data = str(e).encode()
    check(data.startswith(b'HTTP/1.1 401 '), 'a client that sends its whole body first still reads the 401', data[:100])
    s.close()
    s = tls(10)
    body = b'{"prompt":"a","max_tokens":1}'
    s.sendall(head('POST', '/v1/completions', with_key(), EXPECT, length(len(body))))
    first = hear(s)
    check(first == b'HTTP/1.1 100 Continue\r\n\r\n', 'with the key: 100', first)
    s.sendall(body)
    check(hear(s).startswith(b'HTTP/1.1 200 '), 'then the answer')
    s.close()


def forms_of_paths():
    for path in ('//health', '/health/', '///health//', '/v1//models/', '//v1/models'):
        s = tls(5)
        s.sendall(head('GET', path, with_key()))
        data = hear(s)
        check(data.startswith(b'HTTP/1.1 200 '), f'{path} is served', data[:100])
        s.sendall(b'\r\n\r\n' + head('GET', '/health'))
        check(hear(s).startswith(b'HTTP/1.1 200 '), 'a request behind empty lines is served')
        s.close()


def main():
    if args.crowd:
        asyncio.run(crowd(args.crowd))
        return 0
    refusals()
    forms_of_paths()
    timed_streams(1)  # warm
    busy, began = net_seconds(), time.monotonic()
    alone, n, good = timed_streams(args.seconds)
    busy = (net_seconds() - busy) / (time.monotonic() - began)
    print(f'  streams alone: {figures(alone)}' + (f'; net thread {busy * 100:.0f} % of a core' if args.pid else ''), flush=True)
    if check(good and n and alone, 'streams alone come to their end', n):
        for name in CROWDS:
            beside(name, alone, busy)
    print(f'crowd: {passed} passed, {failed} failed')
    return failed != 0


sys.exit(main())
