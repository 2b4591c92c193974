// clang-format off
// Made by tests/golden/peer/formats.c: type, hash of what the sample decodes to, weights
// 0, 77 and 255 of its first block.
{DTYPE_IQ1_S, 0x2d3db349fdfb8131, {0x1.6fep-9, 0x1.13e8p-7, -0x1.896cp-6}},
{DTYPE_IQ1_M, 0x83c63bf0164df6f2, {0x1.4c31p-5, -0x1.3159p-5, 0x1.d5c4p-7}},
{DTYPE_IQ2_XXS, 0xa15faaf2c9da1b87, {0x1.8288p-5, -0x1.63614p-3, -0x1.e84p-8}},
{DTYPE_IQ2_XS, 0xa4267b25a3427d89, {-0x1.b43p-6, -0x1.d358p-5, 0x1.3042ap-2}},
{DTYPE_IQ2_S, 0x7b3e839c47f22a98, {0x1.efp-6, 0x1.e064p-3, -0x1.02acp-3}},
{DTYPE_IQ3_XXS, 0xf8694fd17591ffe6, {0x1.812p-5, -0x1.ec84p-2, -0x1.e7e3p-1}},
{DTYPE_IQ3_S, 0x992989660f4c9611, {0x1.ae8p-5, 0x1.338p-5, -0x1.27f8p-1}},
{DTYPE_TQ1_0, 0x644e22361b836045, {0x1.4c4p-9, 0x1.4c4p-9, 0x1.4c4p-9}},
{DTYPE_TQ2_0, 0xbf9193a2fea516f4, {-0x0p+0, -0x1.29cp-8, -0x1.29cp-9}},
