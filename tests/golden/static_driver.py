"""The Vulkan drivers inside the appliance (RADV and Venus, engine/deps/mesa.sh), asked by build/appliance/probe, which is
linked as the engine is:

1. nothing of the machine is wanted: the binary names no interpreter, and in an empty root it makes its instance, finds no
   device and says so;
2. RADV compiles for the two chips of this project without having one: the null device, with the chip's own register file
   (gfx1151 has half again as many registers as gfx1150, so it hands them out in steps of 12 to a wave of 64, not of 8);
3. Venus computes: 2^16 sums on lavapipe, lent by tests/golden/vtest, all of them right;
4. the engine computes through it: some operations of build/appliance/ops, the appliance's code, against the CPU's.
"""
import os, re, shutil, subprocess

TREE = os.path.abspath(os.path.dirname(os.path.abspath(__file__)) + '/../..')
PROBE = TREE + '/build/appliance/probe'
OPS = TREE + '/build/appliance/ops'
VTEST = TREE + '/tests/golden/vtest'


def ask(command, **env):
    """(status, lines) of a command that has an environment of its own"""
    r = subprocess.run(command, env=dict(env, PATH=os.environ['PATH']), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    return r.returncode, r.stdout.decode(errors='replace').splitlines()


def in_empty_root(work):
    """The command that runs the probe where there is no other file."""
    root = work + '/empty'
    os.makedirs(root, exist_ok=True)
    shutil.copy(PROBE, root + '/probe')
    return ([] if os.getuid() == 0 else ['sudo']) + ['chroot', root, '/probe']


def statistics(lines):
    return {m[1]: int(m[2]) for m in (re.fullmatch(r'statistic (.*) = (\d+)', line) for line in lines) if m}


def run(work, check, skip):
    if not os.access(PROBE, os.X_OK):
        return check('driver built', False, '%s is missing: make needs-golden' % PROBE)
    head = subprocess.run(['readelf', '-lW', PROBE], stdout=subprocess.PIPE).stdout.decode()
    check('driver static', 'LOAD' in head and 'INTERP' not in head, 'a static binary has no INTERP segment')
    status, lines = ask(in_empty_root(work))
    check('driver in an empty root', status == 0 and lines == ['devices 0'], '%d %s' % (status, lines))
    for chip, step in ('gfx1150', 8), ('gfx1151', 12):
        status, lines = ask([PROBE], RADV_FORCE_FAMILY=chip)
        s = statistics(lines)
        # RADV counts a wave of 64 twice: 32 is the full occupancy of 16.
        check('driver compiles for ' + chip, status == 0 and chip.upper() in ''.join(lines) and 'pipeline made' in lines and s.get('Code size', 0) > 0
              and s.get('Spilled VGPRs') == 0 and s.get('VGPRs') == step and s.get('Subgroups per SIMD') == 32, '%d %s' % (status, lines))
    status, lines = ask([VTEST, PROBE, 'run'])
    check('driver computes through Venus', status == 0 and 'ran 65536 sums, 0 wrong' in lines and 'Venus' in ''.join(lines), '%d %s' % (status, lines))
    for words in ['rms_norm'], ['embed', 'Q4_K'], ['attention F16', '1 token sees 1100']:
        status, lines = ask([VTEST, OPS, 'Venus'] + words)
        check('driver computes ' + ' '.join(words), status == 0 and lines and lines[0].startswith('Virtio-GPU Venus'), '%d %s' % (status, lines[-3:]))
