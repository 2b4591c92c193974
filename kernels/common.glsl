// common.glsl - what every kernel starts with: extensions, and memory by address.
//
// load_*(base, byte) and store_*(base, byte, v): `base` is uniform (a push constant or computed from
// uniform values), `byte` a 32-bit offset from it. Written so, the compiler can put the base into
// scalar registers and needs one vector register for the offset. Vector loads want their own size as
// alignment.
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_shader_explicit_arithmetic_types : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_8bit_storage : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "params.h"

#define MEMORY(NAME, TYPE, ALIGN) \
    layout(buffer_reference, scalar, buffer_reference_align = ALIGN) buffer NAME { TYPE v; };
MEMORY(MemF1, float, 4)
MEMORY(MemF2, vec2, 8)
MEMORY(MemF4, vec4, 16)
MEMORY(MemU1, uint, 4)
MEMORY(MemU2, uvec2, 8)
MEMORY(MemU4, uvec4, 16)
MEMORY(MemL1, uint64_t, 8)
MEMORY(MemL2, u64vec2, 16)
MEMORY(MemI1, int, 4)
MEMORY(MemH1, float16_t, 2)
MEMORY(MemH2, f16vec2, 4)
MEMORY(MemH4, f16vec4, 8)
MEMORY(MemS1, uint16_t, 2)
MEMORY(MemB1, uint8_t, 1)

#define AT(TYPE, base, byte) TYPE((base) + uint64_t(byte)).v
float load_f(uint64_t base, uint byte) { return AT(MemF1, base, byte); }
uint load_u(uint64_t base, uint byte) { return AT(MemU1, base, byte); }
// As 64-bit words: a GPU loads the same, while llvmpipe, for which every load is a gather of one
// component, needs half as many.
uvec2 load_u2(uint64_t base, uint byte) { return unpack32(AT(MemL1, base, byte)); }
uvec4 load_u4(uint64_t base, uint byte)
{
    u64vec2 v = AT(MemL2, base, byte);
    return uvec4(unpack32(v.x), unpack32(v.y));
}
vec2 load_f2(uint64_t base, uint byte) { return uintBitsToFloat(load_u2(base, byte)); }
vec4 load_f4(uint64_t base, uint byte) { return uintBitsToFloat(load_u4(base, byte)); }
uint64_t load_address(uint64_t base, uint byte) { return AT(MemL1, base, byte); }
int load_i(uint64_t base, uint byte) { return AT(MemI1, base, byte); }
float load_h(uint64_t base, uint byte) { return float(AT(MemH1, base, byte)); }
uint load_s(uint64_t base, uint byte) { return uint(AT(MemS1, base, byte)); }
uint load_b(uint64_t base, uint byte) { return uint(AT(MemB1, base, byte)); }
void store_f(uint64_t base, uint byte, float v) { AT(MemF1, base, byte) = v; }
void store_f4(uint64_t base, uint byte, vec4 v) { AT(MemF4, base, byte) = v; }
void store_h4(uint64_t base, uint byte, f16vec4 v) { AT(MemH4, base, byte) = v; }
void store_u(uint64_t base, uint byte, uint v) { AT(MemU1, base, byte) = v; }
void store_u4(uint64_t base, uint byte, uvec4 v) { AT(MemU4, base, byte) = v; }
void store_u2(uint64_t base, uint byte, uvec2 v) { AT(MemU2, base, byte) = v; }
void store_s(uint64_t base, uint byte, uint v) { AT(MemS1, base, byte) = uint16_t(v); }
