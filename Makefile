# Makefile - the whole build: one file, out of tree in build/, the same outside and inside the toolchain root.
#
# Called on the machine itself, make enters the toolchain root once (engine/deps/enter.sh makes that root when it is
# missing) and runs there with the same goals; /etc/tawny-root tells the two apart. Inside, one compiler makes three
# flavours of the same sources, which differ only in what they are linked against:
#   appliance  static, musl: what ships                    host  dynamic, glibc 2.36 (Debian 12): runs on other machines
#   asan       as host, with AddressSanitizer and UBSan: what the unit and api tests run
# A fourth, fuzz, is asan compiled for libFuzzer's coverage, libraries included: what `make fuzz` searches with.
# New .c files are picked up by name. Every object depends on the headers it read (-MD) and on its flags.
# Use V=1 to see the commands; JOBS=n for n at a time.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
JOBS ?= $(shell nproc)

TIERS := unit golden api boot device
INSIDE_GOALS := host appliance asan init notices image release lxc oci run run-host train lint format sbom cve \
                test $(TIERS:%=test-%) test-peer isa-report chip-report unit-programs fuzz fuzz-programs
.PHONY: help clean inside $(INSIDE_GOALS) $(TIERS:%=needs-%)

# Files that sign, given on the command line: KEY updates; SBKEY and SBCERT what Secure Boot starts.
KEYS := $(foreach k,KEY SBKEY SBCERT,$(if $($(k)),$(k)))

help: ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 22

clean: ## remove build/ (the toolchain root and the caches stay in ~/.cache/tawny)
	@rm -rf build 2>/dev/null || sudo rm -rf build

ifeq ($(wildcard /etc/tawny-root),)
# ---- outside: go in, once, with every goal ---------------------------------------------------------------------------

# The folder of each is seen inside: one that is not there, or that would cover all of it, is refused before anything is built.
$(foreach k,$(KEYS),$(if $(wildcard $($(k))),,$(error $(k)=$($(k)): there is no such file)))
$(foreach k,$(KEYS),$(if $(filter /,$(dir $(abspath $($(k))))),$(error $(k)=$($(k)): put it into a folder of its own, not into /)))
INSIDE_NOW := $(filter-out help clean,$(MAKECMDGOALS))
# Two makes that only compile take turns in one tree; tests and running machines hold up nobody.
ONLY_COMPILES := $(if $(filter-out host appliance asan init notices unit-programs fuzz-programs isa-report chip-report lint format build/%,$(INSIDE_NOW)),,yes)
$(INSIDE_NOW): inside
	@:
inside:
	@mkdir -p build; exec $(if $(ONLY_COMPILES),flock build/.lock) engine/deps/enter.sh $(foreach k,$(KEYS),--bind "$(abspath $(dir $($(k))))") make -C "$(CURDIR)" -j$(JOBS) JOBS=$(JOBS) $(MAKEOVERRIDES) $(if $(findstring k,$(firstword -$(MAKEFLAGS))),-k) $(INSIDE_NOW)
ifneq ($(filter clean,$(MAKECMDGOALS)),)
inside: clean
endif

else
# ---- inside ----------------------------------------------------------------------------------------------------------

Q := $(if $(V),,@)
say = $(if $(V),,@echo "  $(1)")
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

# 12 digits: git's own choice grows with the clone, and the same commit must give the same bytes.
VERSION := $(shell git describe --tags --always --abbrev=12 --dirty 2>/dev/null || echo unreleased)
# MESA=VERSION:SHA256 takes another Mesa than engine/deps/mesa.sh does.
export MESA ?=
LIBRARIES_appliance := $(shell engine/deps/deps.sh appliance list)
LIBRARIES_host := $(shell engine/deps/deps.sh host list)
LIBRARIES_asan := $(LIBRARIES_host)
LIBRARIES_fuzz := $(LIBRARIES_host)
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 1)

ENGINE_C := $(sort $(wildcard engine/*.c engine/*/*.c engine/compute/*/*.c engine/model/*/*.c))
INIT_C := $(sort $(wildcard init/*.c))
# Where Vulkan comes from is chosen by name: *_static.c is for the appliance alone, *_system.c for the others.
NOT_IN_appliance := %_system.c
NOT_IN_host := %_static.c
NOT_IN_asan := %_static.c
NOT_IN_fuzz := %_static.c
engine_c = $(filter-out $(NOT_IN_$(1)),$(ENGINE_C))
# Files that name the version or the commit's time are compiled again when those change; the others are not.
VERSIONED_C := $(shell grep -lE 'TAWNY_(VERSION|LIBS|BUILD_EPOCH)' $(ENGINE_C) $(INIT_C) /dev/null)

WARN := -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wundef \
        -Wimplicit-fallthrough -Wformat -Wformat-security -Wno-missing-field-initializers -Werror \
        -Wconversion -Wno-sign-conversion -Wno-enum-conversion -Wno-enum-float-conversion -Wno-string-conversion \
        -Wno-error=conversion -Wno-error=implicit-int-float-conversion -Wno-error=shorten-64-to-32
CFLAGS_all := -std=c11 -D_GNU_SOURCE -g -fno-strict-aliasing -fno-common -ffunction-sections -fdata-sections -pthread \
              -ffile-prefix-map=$(CURDIR)=. -fdebug-compilation-dir=. $(WARN) -Iengine -I.
LIBS := -lbearssl -lyyjson -lpcre2-8 -lllhttp -lqrencode -lisocline -lm
LIBS_init := -lbearssl -lyaml
LIBS_appliance := $(LIBS) -lradv -lvenus -lvulkan -ldrm_amdgpu -ldrm -lc++ -lc++abi -lunwind
LINK_all := -fuse-ld=lld -pthread -Wl,--gc-sections -Wl,--build-id=sha1 -Wl,-z,relro,-z,now,-z,noexecstack

# The one difference between the flavours.
HARDEN := -O2 -fPIE -fno-omit-frame-pointer -fstack-protector-strong
CC_appliance := clang --target=x86_64-linux-musl --sysroot=build/deps/appliance/sysroot
CFLAGS_appliance := $(HARDEN) -isystem build/deps/appliance/include
LINK_appliance := -static-pie -rtlib=compiler-rt -unwindlib=none -Wl,-z,stack-size=4194304 -Lbuild/deps/appliance/lib
CC_host := clang --target=x86_64-linux-gnu --sysroot=build/deps/host/sysroot
CFLAGS_host := $(HARDEN) -D_FORTIFY_SOURCE=2 -isystem build/deps/host/include
LINK_host := -pie -Lbuild/deps/host/lib
CC_asan := clang
CFLAGS_asan := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all \
               -isystem build/deps/host/include
LINK_asan := -fsanitize=address,undefined -Lbuild/deps/host/lib
CC_fuzz := clang
CFLAGS_fuzz := $(subst build/deps/host,build/deps/fuzz,$(CFLAGS_asan)) -fsanitize=fuzzer-no-link
LINK_fuzz := -fsanitize=address,undefined,fuzzer -Lbuild/deps/fuzz/lib

# CPU kernels: the arithmetic that cannot be observed (errno, traps) is given up; instruction sets by file name, chosen at
# run time by cpuid. znver4: the default tuning splits vpdpwssd in two, which costs decoding 8-15 %.
CFLAGS_kernel := -fno-math-errno -fno-trapping-math
CFLAGS_avx2 := -mavx2 -mfma -mf16c
CFLAGS_avx512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mtune=znver4 $(CFLAGS_avx2)
# The emulated chip: sums and products stay apart, as they are apart there.
CFLAGS_chip := -O3 -ffp-contract=off $(CFLAGS_kernel) -isystem build/deps/appliance/include/libdrm
flags_of = $(if $(filter engine/compute/cpu/%,$(1)),$(CFLAGS_kernel) $(if $(filter asan fuzz,$(2)),,-O3)) \
           $(if $(filter %_avx2.c,$(1)),$(CFLAGS_avx2)) $(if $(filter tests/golden/chip/%,$(1)),$(CFLAGS_chip))  $(if $(filter %_avx512.c,$(1)),$(CFLAGS_avx512)) \
           $(if $(filter $(1),$(VERSIONED_C)),-DTAWNY_VERSION='"$(VERSION)"' \
               -DTAWNY_LIBS='"$(LIBRARIES_$(2))"' -DTAWNY_BUILD_EPOCH=$(SOURCE_DATE_EPOCH)L)

# keep FILE TEXT: FILE holds TEXT and is touched only when that changes.
keep = $(shell mkdir -p $(dir $(1)); printf '%s\n' '$(subst ','\'',$(2))' | cmp -s - $(1) || printf '%s\n' '$(subst ','\'',$(2))' > $(1))

# ---- libraries, notices ----
DEPS_OF_asan := host
DEPS_OF_fuzz := fuzz
DEPS_OF_host := host
DEPS_OF_appliance := appliance
RECIPES := $(wildcard engine/deps/*.sh)
$(call keep,build/deps/.mesa,$(MESA))
define deps_rule
build/deps/$(1).stamp: $$(RECIPES) build/deps/.mesa $$(if $$(wildcard build/deps/$(1)/lib build/deps/$(1)/sysroot/usr/include/stdio.h),,missing-$(1))
	@engine/deps/deps.sh $(1) build/deps/$(1)
	@touch $$@
.PHONY: missing-$(1)
missing-$(1):
endef
$(foreach f,host appliance fuzz,$(eval $(call deps_rule,$(f))))

build/NOTICES: engine/deps/notices.sh LICENSE $(wildcard boot/licences/*) build/deps/appliance.stamp
	@engine/deps/notices.sh build/deps/appliance > $@.new && mv $@.new $@
notices: build/NOTICES ## build/NOTICES, the licences of everything linked in

# The notices travel inside the binary: notices_text[], notices_text_end[].
build/%/obj/notices.o: build/NOTICES
	$(call say,NOTICES $*)
	@mkdir -p $(@D)
	$(Q)printf '%s\n' '.section .rodata' '.global notices_text, notices_text_end' 'notices_text: .incbin "build/NOTICES"' \
	    'notices_text_end: .byte 0' '.section .note.GNU-stack,"",@progbits' | $(CC_$*) -x assembler -c - -o $@

# So does the built-in model: builtin_gguf[], builtin_gguf_end[].
build/%/obj/builtin.o: engine/builtin/builtin.gguf
	$(call say,MODEL $*)
	@mkdir -p $(@D)
	$(Q)printf '%s\n' '.section .rodata' '.global builtin_gguf, builtin_gguf_end' '.balign 4096' \
	    'builtin_gguf: .incbin "$<"' 'builtin_gguf_end: .byte 0' '.section .note.GNU-stack,"",@progbits' | \
	    $(CC_$*) -x assembler -c - -o $@

# The tables of engine/text/unicode.c.
build/unicode_data.c: engine/text/unicode_data.py
	$(call say,UNICODE)
	@mkdir -p $(@D)
	$(Q)python3 $< > $@.new && mv $@.new $@

# ---- kernels: GLSL to SPIR-V, embedded as objects ----
# One line a kernel: its name (what C dispatches), its file in kernels/, and for storage formats a -D. The SPIR-V of all
# of them travels inside the binary as a table: kernel_table[] = {name, words, bytes}, kernel_count. Kernels with
# cooperative matrices are listed in MATRIX too: in their SPIR-V only barriers order accesses (kernels/matrix.glsl).
KERNELS :=
MATRIX :=
define kernel
KERNELS += $(1)
$(call keep,build/spv/$(1).flags,$(2) $(3))
build/spv/$(1).spv: kernels/$(2) build/spv/$(1).flags
	$$(call say,GLSL $(1))
	$$(Q)glslangValidator --quiet -V --target-env vulkan1.3 -S comp -Ikernels $(3) --depfile build/spv/$(1).d -o $$@ $$<
	$$(if $$(filter $(1),$$(MATRIX)),$$(Q)$$(call order_by_barriers,$$@))
endef
order_by_barriers = spirv-dis $(1) | sed -E 's/MakePointer(Visible|Available)\|(NonPrivatePointer) %uint_[0-9]+/\2/' | \
    spirv-as --target-env vulkan1.3 --preserve-numeric-ids -o $(1) - || { rm -f $(1); exit 1; }
WEIGHTS := f32 f16 bf16 q8_0 q4_0 q4_1 q5_0 q5_1 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs mxfp4 tq2_0 \
    iq1_s iq1_m iq2_xxs iq2_xs iq2_s iq3_xxs iq3_s
define kernel_of_weights
$(foreach w,$(WEIGHTS),$(eval $(call kernel,$(1)-$(w),$(2),-DWEIGHT_$(w) $(3))))
endef
# what moves or makes rows
$(eval $(call kernel,rows,rows.comp))
$(eval $(call kernel,copy,copy.comp))
$(eval $(call kernel,elementwise,elementwise.comp))
$(call kernel_of_weights,embed,embed.comp)
# products with few rows of x (matvec.c)
$(call kernel_of_weights,matvec,matvec.comp)
$(call kernel_of_weights,matvec_experts,matvec.comp,-DEXPERTS)
# products with many rows of x (matmat.c, experts.c)
$(eval $(call kernel,matmat_x-f16,matmat_x.comp,-DHALF))
$(eval $(call kernel,matmat_x-f32,matmat_x.comp))
$(eval $(call kernel,matmat_sum,matmat_sum.comp))
$(eval $(call kernel,experts_sort,experts_sort.comp))
$(eval $(call kernel,experts_tiles,experts_tiles.comp))
$(call kernel_of_weights,matmat_tile,matmat_tile.comp)
$(call kernel_of_weights,matmat_coop,matmat_coop.comp)
MATRIX += $(WEIGHTS:%=matmat_coop-%)
# attention, rotation, norm
$(eval $(call kernel,norm,norm.comp))
$(eval $(call kernel,rope_kv-f16,rope_kv.comp,-DCACHE_f16))
$(eval $(call kernel,rope_kv-q8_0,rope_kv.comp,-DCACHE_q8_0))
$(eval $(call kernel,attention-f16,attention.comp,-DCACHE_f16))
$(eval $(call kernel,attention-q8_0,attention.comp,-DCACHE_q8_0))
$(eval $(call kernel,attention_join,attention_join.comp))
$(eval $(call kernel,attention_matrix-f16,attention_matrix.comp,-DCACHE_f16))
$(eval $(call kernel,attention_matrix-q8_0,attention_matrix.comp,-DCACHE_q8_0))
MATRIX += attention_matrix-f16 attention_matrix-q8_0
# which blocks of positions attention sees, residual streams
$(eval $(call kernel,index_keys,index_keys.comp))
$(eval $(call kernel,index_choose,index_choose.comp))
$(eval $(call kernel,streams,streams.comp))
$(eval $(call kernel,streams_gate,streams_gate.comp))
$(eval $(call kernel,streams_read,streams_read.comp))
# rows that stand for many positions, and attention to them
$(eval $(call kernel,compress,compress.comp))
$(eval $(call kernel,attention_far-f16,attention_far.comp,-DCACHE_f16))
$(eval $(call kernel,attention_far-q8_0,attention_far.comp,-DCACHE_q8_0))
# recurrent layers
$(eval $(call kernel,conv,conv.comp))
$(eval $(call kernel,conv-apart,conv.comp,-DAPART))
$(eval $(call kernel,delta_net,delta_net.comp))
$(eval $(call kernel,delta_net-sigmoid,delta_net.comp,-DZ_SIGMOID))
$(eval $(call kernel,mamba2,mamba2.comp))
# sampling, mixture of experts
$(eval $(call kernel,top_k,top_k.comp))
$(eval $(call kernel,route,route.comp))
$(eval $(call kernel,experts_sum,experts_sum.comp))
-include $(wildcard build/spv/*.d)
build/%/obj/kernels.o: $(foreach k,$(KERNELS),build/spv/$(k).spv)
	$(call say,KERNELS $*)
	@mkdir -p $(@D)
	$(Q){ echo '.section .data.rel.ro,"aw"'; echo '.global kernel_table, kernel_count'; echo '.balign 8'; echo 'kernel_table:'; \
	    for k in $(KERNELS); do echo ".quad name_$${k//-/_}, code_$${k//-/_}, end_$${k//-/_} - code_$${k//-/_}"; done; \
	    echo '.section .rodata'; echo '.balign 4'; echo 'kernel_count: .long $(words $(KERNELS))'; \
	    for k in $(KERNELS); do echo ".balign 4"; echo "code_$${k//-/_}: .incbin \"build/spv/$$k.spv\""; echo "end_$${k//-/_}:"; \
	    echo "name_$${k//-/_}: .asciz \"$$k\""; done; \
	    echo '.section .note.GNU-stack,"",@progbits'; } | $(CC_$*) -x assembler -c - -o $@

# ---- the web page, embedded the same way (engine/page/embed.sh): its files, and the libraries of its recipes ----
PAGES := $(sort $(wildcard engine/page/*.html engine/page/*.css engine/page/*.js engine/page/*.svg))
PAGE_LIBRARIES := markdown-it.js dompurify.js highlight.js

# ---- one flavour ----
engine_o = $(patsubst %.c,build/$(1)/obj/%.o,$(2))
define flavour
$(call keep,build/$(1)/obj/.flags,$(CC_$(1)) $(CFLAGS_all) $(CFLAGS_$(1)) $(CFLAGS_kernel) $(CFLAGS_avx512))
$(call keep,build/$(1)/obj/.version,$(VERSION) $(LIBRARIES_$(1)) $(SOURCE_DATE_EPOCH))
$(call keep,build/$(1)/obj/.files,$(ENGINE_C) $(INIT_C))
$(call keep,build/$(1)/obj/.pages,$(PAGES))
$$(call engine_o,$(1),$$(VERSIONED_C)): build/$(1)/obj/.version
build/$(1)/obj/%.o: %.c build/$(1)/obj/.flags | build/deps/$$(DEPS_OF_$(1)).stamp
	$$(call say,CC $(1) $$<)
	@mkdir -p $$(@D)
	$$(Q)$$(CC_$(1)) $$(CFLAGS_all) $$(CFLAGS_$(1)) $$(call flags_of,$$<,$(1)) -MD -MP -c $$< -o $$@

build/$(1)/obj/page.o: $(PAGES) engine/page/embed.sh build/$(1)/obj/.pages build/deps/$$(DEPS_OF_$(1)).stamp
	$$(call say,PAGE $(1))
	@mkdir -p $$(@D)
	$$(Q)engine/page/embed.sh $$(@D)/page $(PAGES) $(PAGE_LIBRARIES:%=build/deps/$(DEPS_OF_$(1))/share/page/%) | \
	    $$(CC_$(1)) -x assembler -c - -o $$@

build/$(1)/obj/unicode_data.o: build/unicode_data.c build/$(1)/obj/.flags | build/deps/$$(DEPS_OF_$(1)).stamp
	@mkdir -p $$(@D)
	$$(Q)$$(CC_$(1)) $$(CFLAGS_all) $$(CFLAGS_$(1)) -MD -MP -c $$< -o $$@

build/$(1)/libengine.a: $$(call engine_o,$(1),$$(filter-out engine/main.c,$$(call engine_c,$(1)))) $$(patsubst %,build/$(1)/obj/%.o,notices kernels page builtin unicode_data) \
                       build/$(1)/obj/.files
	@rm -f $$@; llvm-ar rcsD $$@ $$(filter %.o,$$^)
build/$(1)/libinit.a: $$(call engine_o,$(1),$$(filter-out init/main.c,$$(INIT_C))) build/$(1)/obj/.files
	@rm -f $$@; llvm-ar rcsD $$@ $$(filter %.o,$$^)
endef
$(foreach f,appliance host asan fuzz,$(eval $(call flavour,$(f))))
-include $(shell find build/appliance/obj build/host/obj build/asan/obj build/fuzz/obj -name '*.d' 2>/dev/null)

link = $(CC_$(1)) $(LINK_all) $(LINK_$(1))
build/host/tawny build/asan/tawny: build/%/tawny: build/%/obj/engine/main.o build/%/libengine.a
	$(call say,LINK $@)
	$(Q)$(call link,$*) $^ $(LIBS) -o $@
build/appliance/tawny.debug: build/appliance/obj/engine/main.o build/appliance/libengine.a
	$(call say,LINK $@)
	$(Q)$(call link,appliance) $^ $(LIBS_appliance) -o $@
build/appliance/init.debug: build/appliance/obj/init/main.o build/appliance/libinit.a
	$(call say,LINK $@)
	$(Q)$(call link,appliance) $^ $(LIBS_init) -o $@
build/appliance/tawny build/appliance/init: %: %.debug
	$(Q)llvm-strip -o $@ $<

host: build/host/tawny ## the engine for development: build/host/tawny (glibc 2.36 or newer)
appliance: build/appliance/tawny ## the engine that ships: build/appliance/tawny (static)
asan: build/asan/tawny ## the engine under ASan and UBSan: build/asan/tawny
init: build/appliance/init ## PID 1 of the image: build/appliance/init (static)

# ---- the image, and running it ----
# What pulls trust in the image: the package's own files, not those that this machine has added to its bundle.
build/ca-certificates.crt: $(wildcard /usr/share/ca-certificates/mozilla)
	@mkdir -p $(@D)
	$(Q)for f in /usr/share/ca-certificates/mozilla/*.crt; do cat "$$f"; echo; done > $@.new && grep -q 'BEGIN CERTIFICATE' $@.new && mv $@.new $@
# sudo, since mkosi builds a root file system; what it makes is handed back to the calling user.
image: appliance init notices build/ca-certificates.crt ## the disk image: build/tawny.img (dd) and build/tawny.qcow2
	@env $(foreach k,$(KEYS),$(k)='$($(k))') boot/image
# The key's public half is built into the image, so that boxes with it take what this key signs from then on.
release: image ## a signed update, build/tawny-update.bin, and the image that takes it: KEY=FILE, a key of ECDSA P-256
	$(if $(KEY),,$(error make release KEY=FILE: openssl ecparam -name prime256v1 -genkey -noout -out FILE makes one))
	@boot/bundle.py --uki build/image/tawny.efi --release build/image/release --key $(KEY) --out build/tawny-update.bin
lxc oci: appliance init notices build/ca-certificates.crt
	@boot/container $@ --version '$(VERSION)'
lxc: ## a template for Proxmox VE's and LXC's containers: build/tawny-lxc.tar.zst
oci: ## an image for Podman and Docker: build/tawny-oci.tar
run: image ## boot the image in QEMU and ask it a question over HTTPS; Ctrl-C ends it
	@boot/run
run-host: host ## the same without a VM, in seconds
	@boot/run --host

# Never part of anything else: resumable, about 100 minutes on 2 cores. The head of train.py says how the committed one was made; it
# begins with the model of an earlier commit.
ANCESTOR = 56ad026
train: ## train the built-in model anew (engine/builtin/builtin.gguf)
	@mkdir -p build/train && git show $(ANCESTOR):engine/builtin/builtin.gguf > build/train/start.gguf
	@engine/deps/enter.sh --in "$$(engine/deps/root.sh train trixie python3 python3-numpy python3-jinja2 python3-torch libopenblas0-pthread)" \
	    python3 engine/builtin/train.py --dir build/train --start build/train/start.gguf --out engine/builtin/builtin.gguf

# ---- tests ----
# Every tests/unit/NAME.c is a program: exit status 0 and a last line "N passed, N failed" (tests/unit/check.h prints it).
UNIT_C := $(sort $(wildcard tests/unit/*.c))
UNIT := $(UNIT_C:tests/unit/%.c=build/asan/unit/%)
build/asan/unit/%: build/asan/obj/tests/unit/%.o build/asan/libengine.a
	$(call say,LINK $@)
	@mkdir -p $(@D)
	$(Q)$(call link,asan) $^ $(LIBS) -o $@
UNIT_WRAP_net := now_ms # so that a test need not wait for what takes seconds
UNIT_WRAP_reset := complain
UNIT_WRAP_ports := bind listen getsockopt getifaddrs say complain
UNIT_WRAP_power := open ioctl read close loop_add loop_remove complain
UNIT_WRAP_trial := access mkdir mount umount read_file replace_file disk_esp module_want module_ready child_start power_request complain
UNIT_WRAP_stick := child_start module_want module_ready read_file readlink
UNIT_WRAP_disk := now_ms say complain power_asked update_restart module_ready module_drivers_ready child_start mount \
	read_file readlink open mkdir lchown replace_file
UNIT_WRAP_ntp := adjtimex clock_settime child_start clock_floor_s clock_was_absurd disk_mounted net_has_address replace_file
build/asan/unit/init_%: build/asan/obj/tests/unit/init_%.o build/asan/libinit.a
	$(call say,LINK $@)
	@mkdir -p $(@D)
	$(Q)$(call link,asan) $(UNIT_WRAP_$*:%=-Wl,--wrap=%) $^ $(LIBS_init) -o $@
# Every tests/fuzz/NAME.c is a libFuzzer target of two builds: build/asan/fuzz/NAME, with which test-unit replays the
# inputs kept in tests/fuzz/NAME/, and build/fuzz/NAME, which searches. Those named init_* are PID 1's. WRAP_NAME are
# functions that the target stands in for (sockets, clocks, randomness), so that an input means the same each time.
FUZZ_C := $(sort $(wildcard tests/fuzz/*.c))
FUZZ_NAMES := $(FUZZ_C:tests/fuzz/%.c=%)
FUZZ := $(FUZZ_NAMES:%=build/asan/fuzz/%)
WRAP_tls := random_bytes
WRAP_init_net := socket bind setsockopt send sendto recv access close getrandom now_ms say complain replace_file write_file
fuzz_link = $(call link,$(1)) -fsanitize=fuzzer $(WRAP_$(2):%=-Wl,--wrap=%)
define fuzz_rule
build/asan/fuzz/$(1): build/asan/obj/tests/fuzz/$(1).o build/asan/$(2)
	$$(call say,LINK $$@)
	@mkdir -p $$(@D)
	$$(Q)$$(call fuzz_link,asan,$(1)) $$^ $(3) -o $$@
build/fuzz/$(1): build/fuzz/obj/tests/fuzz/$(1).o build/fuzz/$(2)
	$$(call say,LINK $$@)
	$$(Q)$$(call fuzz_link,fuzz,$(1)) $$^ $(3) -o $$@
endef
$(foreach n,$(filter init_%,$(FUZZ_NAMES)),$(eval $(call fuzz_rule,$(n),libinit.a,$$(LIBS_init))))
$(foreach n,$(filter-out init_%,$(FUZZ_NAMES)),$(eval $(call fuzz_rule,$(n),libengine.a,$$(LIBS))))
fuzz-programs: $(if $(NAME),$(NAME:%=build/fuzz/%),$(FUZZ_NAMES:%=build/fuzz/%))
fuzz: fuzz-programs ## search for inputs that break a parser: NAME=gguf (all by turns), SECONDS=600 in all, KEEP=1 keeps them
	@tests/fuzz/run $(if $(SECONDS),--seconds $(SECONDS)) $(if $(KEEP),--keep) $(if $(NAME),$(NAME),$(FUZZ_NAMES))
unit-programs: $(UNIT) $(FUZZ)
# Every operation on a device against the CPU's: build/host/ops [--every N] DEVICE [WORD...].
build/appliance/ops: $(patsubst %.c,build/appliance/obj/%.o,$(wildcard tests/golden/ops*.c)) build/appliance/libengine.a
	$(call say,LINK $@)
	$(Q)$(call link,appliance) $^ $(LIBS_appliance) -o $@
build/host/ops: $(patsubst %.c,build/host/obj/%.o,$(wildcard tests/golden/ops*.c)) build/host/libengine.a
	$(call say,LINK $@)
	$(Q)$(call link,host) $^ $(LIBS) -o $@
# Token ids of many texts: build/host/words MODEL hash FILE...
build/host/words: build/host/obj/tests/golden/words.o build/host/libengine.a
	$(call say,LINK $@)
	$(Q)$(call link,host) $^ $(LIBS) -o $@
# Two turns of a conversation through the scheduler: build/host/turns MODEL DEVICE CTX PROMPT MORE MAX
build/host/turns: build/host/obj/tests/golden/turns.o build/host/libengine.a
	$(call say,LINK $@)
	$(Q)$(call link,host) $^ $(LIBS) -o $@
# Bytes that models take against those planned: build/host/takes DEVICE GIB MODEL...
build/host/takes: build/host/obj/tests/golden/takes.o build/host/libengine.a
	$(call say,LINK $@)
	$(Q)$(call link,host) $^ $(LIBS) -o $@
# Trunk and block of a model that drafts: build/host/draft MODEL DEVICE BATCH OUT ID,ID,...
build/host/draft build/asan/draft: build/%/draft: build/%/obj/tests/golden/draft.o build/%/libengine.a
	$(call say,LINK $@)
	$(Q)$(call link,$*) $^ $(LIBS) -o $@
# The same answers with guessed tokens and without, and how fast: build/host/guesses DEVICE N < QUESTIONS
build/host/guesses: build/host/obj/tests/golden/guesses.o build/host/libengine.a
	$(call say,LINK $@)
	$(Q)$(call link,host) $^ $(LIBS) -o $@
# Templates and variables in, texts out: build/host/render < LINES.
build/host/render build/asan/render: build/%/render: build/%/obj/tests/golden/render.o build/%/libengine.a
	$(call say,LINK $@)
	$(Q)$(call link,$*) $^ $(LIBS) -o $@
# What models write in, taken apart out: build/host/answers < LINES.
build/host/answers: build/host/obj/tests/golden/answers.o build/host/libengine.a
	$(call say,LINK $@)
	$(Q)$(call link,host) $^ $(LIBS) -o $@
# Random walks through the grammars of JSON schemas: build/host/obeys MODEL SEED < SCHEMAS
build/host/obeys: build/host/obj/tests/golden/obeys.o build/host/libengine.a
	$(call say,LINK $@)
	$(Q)$(call link,host) $^ $(LIBS) -o $@
# The appliance's own drivers, asked alone; and the layer by which tests/golden/vtest lends them a device.
build/appliance/probe: build/appliance/obj/tests/golden/driver/probe.o build/appliance/obj/tests/golden/driver/add.o \
    build/appliance/libengine.a
	$(call say,LINK $@)
	$(Q)$(call link,appliance) $^ $(LIBS_appliance) -o $@
build/appliance/obj/tests/golden/driver/add.o: tests/golden/driver/add.comp
	@mkdir -p $(@D)
	$(Q)glslangValidator --quiet -V $< -o $(@:.o=.spv)
	$(Q)printf '%s\n' '.section .rodata' '.balign 4' '.global add_spv, add_spv_end' 'add_spv: .incbin "$(@:.o=.spv)"' \
	    'add_spv_end:' '.section .note.GNU-stack,"",@progbits' | $(CC_appliance) -x assembler -c - -o $@
# The appliance's engine over RADV's null device, every pipeline it makes written down (tests/golden/isa/).
build/appliance/isa: build/appliance/obj/tests/golden/isa/report.o build/appliance/obj/tests/golden/isa/capture.o \
    build/appliance/obj/tests/golden/isa/entry.o build/appliance/libengine.a
	$(call say,LINK $@)
	$(Q)$(call link,appliance) -Wl,--wrap=memcpy $^ $(LIBS_appliance) -o $@
build/appliance/obj/tests/golden/isa/entry.o: engine/compute/vulkan/entry_static.c engine/compute/vulkan/entry.h | build/deps/appliance.stamp
	@mkdir -p $(@D)
	$(Q)$(CC_appliance) $(CFLAGS_all) $(CFLAGS_appliance) -Dvulkan_entry=static_entry -c $< -o $@
# build/appliance/ops on that chip, emulated: kernel driver, command processor and compute units answer inside the process.
CHIP_WRAPS := open ioctl stat fstat mmap close dup fcntl drmGetDevices2 drmFreeDevices drmFreeDevice drmGetDevice2 drmGetNodeTypeFromFd \
              vk_dispatch memory_take memory_close clock_us
CHIP_O := $(patsubst tests/golden/chip/%.c,build/appliance/obj/tests/golden/chip/%.o,$(filter-out %/isa.c %/vectors.c,$(wildcard tests/golden/chip/*.c)))
build/appliance/chip-ops: $(patsubst %.c,build/appliance/obj/%.o,$(wildcard tests/golden/ops*.c)) $(CHIP_O) build/appliance/libengine.a
	$(call say,LINK $@)
	$(Q)$(call link,appliance) $(CHIP_WRAPS:%=-Wl,--wrap=%) $^ $(LIBS_appliance) -o $@
# The appliance's engine on it, whole: build/appliance/chip-tawny.
build/appliance/chip-tawny: build/appliance/obj/engine/main.o $(CHIP_O) build/appliance/libengine.a
	$(call say,LINK $@)
	$(Q)$(call link,appliance) $(CHIP_WRAPS:%=-Wl,--wrap=%) $^ $(LIBS_appliance) -o $@
# Its instructions one by one: build/appliance/chip-vectors.
build/appliance/chip-vectors: $(patsubst %,build/appliance/obj/tests/golden/chip/%.o,vectors run scalar vector lanes_avx2 across memory vm decode text watch defined count)
	$(call say,LINK $@)
	$(Q)$(call link,appliance) $^ -lm -o $@
# That chip, emulated (tests/golden/chip/): its machine code as text, build/appliance/chip-isa < WORDS.
build/appliance/chip-isa: $(patsubst %,build/appliance/obj/tests/golden/chip/%.o,isa decode text)
	$(call say,LINK $@)
	$(Q)$(call link,appliance) $^ -o $@
build/host/%_layer.so: tests/golden/driver/%_layer.c | build/deps/host.stamp
	$(call say,LINK $@)
	@mkdir -p $(@D)
	$(Q)$(CC_host) $(CFLAGS_all) $(CFLAGS_host) -fPIC -shared -fuse-ld=lld $< -o $@
.SECONDARY:

# What a tier needs built; tests/run asks for it, so that a build failure is that tier's failure and no other's.
needs-unit: unit-programs build/deps/appliance.stamp # the image's e2fsck and fsck.fat
needs-golden: host appliance build/host/ops build/host/words build/host/takes build/host/turns build/host/draft build/host/render build/host/answers build/host/obeys build/host/guesses $(patsubst %,build/appliance/%,ops probe isa chip-isa chip-vectors chip-ops chip-tawny) build/host/memfd_layer.so
needs-device: host build/host/ops build/host/draft
needs-api: host asan appliance build/appliance/chip-tawny build/host/hang_layer.so
needs-boot: image lxc oci host
ifdef FULL # make test-boot FULL=1: also what takes long
export TAWNY_TEST_FULL := $(FULL)
endif
test: ## every tier this machine can run; says which it skipped and why
	@tests/run $(TIERS)
test-unit: ## unit tests and fuzz corpora under ASan and UBSan, and lint
test-golden: ## logits and token ids against llama.cpp's and a float64 reference
test-api: ## the real server over real TLS: curl, npm clients, a browser, a hostile client
test-boot: ## the image in QEMU: UEFI, BIOS, USB; kill, power cut, power button
test-device: ## a real GPU, where there is one
$(TIERS:%=test-%): test-%:
	@tests/run $*

# Not a tier of `make test`: it compares with the whole of llama.cpp, in a Debian sid root of its own.
test-peer: host build/host/ops build/host/words ## logits and token ids side by side with llama.cpp, matrices (about 20 minutes)
	@tests/golden/peer/run

isa-report: build/appliance/isa build/appliance/chip-isa ## what the driver makes of every kernel for gfx1150 and gfx1151, against the record (RECORD=1 records)
	@tests/golden/isa/report $(if $(RECORD),--record)

chip-report: build/appliance/chip-tawny ## what one decoded token takes on the emulated gfx1150 and gfx1151, counted, against the record (RECORD=1 records)
	@tests/golden/chip/report $(if $(RECORD),--record)

sbom: ## what the product is made of: build/sbom.spdx.json (SPDX 2.3); after make image the kernel and firmware too
	@mkdir -p build; engine/deps/bill sbom $(VERSION) > build/sbom.new && mv build/sbom.new build/sbom.spdx.json
cve: ## the versions here beside Debian's newest, and what Debian has mended since, by CVE number
	@engine/deps/bill cve
lint: ## the floors, the banned functions, the size limits
	@tests/unit/lint.py
format: ## clang-format over every .c and .h
	@git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format -i
endif
