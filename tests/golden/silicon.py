"""silicon.py - figures of the chips that isa/report, isa/predict and chip/report compute times with."""
CLOCK = 2.9e9
# Compute units (two SIMDs each), bytes a second of memory at its fastest. gfx1151: LPDDR5X-8000 on 256 bits. gfx1150: 128 bits; AMD allows
# up to LPDDR5X-8000, machines are sold with LPDDR5X-7500 (or with DDR5-5600 in sockets: 89.6e9), as engine/doctor/device.c has it.
CHIPS = {'gfx1150': (16, 120e9), 'gfx1151': (40, 256e9)}
