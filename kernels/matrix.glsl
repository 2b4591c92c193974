// matrix.glsl - cooperative matrices, and barriers that say all that they order.
//
// The extension brings Vulkan's memory model, under which glslang makes every access to shared
// memory visible at once (MakePointerVisible, MakePointerAvailable): drivers then wait for each load
// before the next, which halves the speed of a product on RADV. The Makefile takes these operands
// off the kernels listed in MATRIX; what they did is left to these barriers, which make shared
// memory available and visible, so nothing else may order accesses to it in such a kernel.
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require

#define SHARED_BARRIER(scope) \
    controlBarrier(scope, scope, gl_StorageSemanticsShared, \
                   gl_SemanticsAcquireRelease | gl_SemanticsMakeAvailable | gl_SemanticsMakeVisible)
void shared_barrier() { SHARED_BARRIER(gl_ScopeWorkgroup); }
void shared_barrier_subgroup() { SHARED_BARRIER(gl_ScopeSubgroup); }

#define MATRIX_A(n) coopmat<float16_t, gl_ScopeSubgroup, n, n, gl_MatrixUseA>
#define MATRIX_B(n) coopmat<float16_t, gl_ScopeSubgroup, n, n, gl_MatrixUseB>
#define MATRIX_SUM(n) coopmat<float, gl_ScopeSubgroup, n, n, gl_MatrixUseAccumulator>
