# enrolld: make, make demo, make test; `make help` lists the rest.
#
# SAN=1 builds with AddressSanitizer and UBSan, SAN=thread with TSan, SAN=fuzz
# for libFuzzer; each variant has a folder of its own under out/. V=1 shows commands.

CC      ?= gcc
SAN     ?=
WERROR  ?=
Q        = $(if $(V),,@)

WARN  = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
        -Wpointer-arith -Wcast-qual -Wwrite-strings -Wvla -Wformat=2 -Wundef -Wimplicit-fallthrough \
        -Wswitch-enum -Wnull-dereference
HARD  = -fstack-protector-strong -fstack-clash-protection -fPIE -D_FORTIFY_SOURCE=2
LHARD = -pie -Wl,-z,relro,-z,now,-z,noexecstack

ifeq ($(SAN),1)
O      = out/asan
OPT    = -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
HARD   = -fstack-protector-strong -fPIE
else ifeq ($(SAN),thread)
O      = out/tsan
OPT    = -O1 -fno-omit-frame-pointer -fsanitize=thread
HARD   = -fstack-protector-strong -fPIE
else ifeq ($(SAN),fuzz)
O      = out/fuzz
OPT    = -O1 -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined
HARD   = -fPIE
else
O      = out/release
OPT    = -O2
endif

CFLAGS   ?= -g
CPPFLAGS += -I.
override CFLAGS += -std=c17 $(OPT) $(WARN) $(HARD) $(if $(WERROR),-Werror) -MMD -MP
override LDFLAGS += $(OPT) $(LHARD) -pthread
TSS  = -ltss2-esys -ltss2-mu -ltss2-rc -ltss2-tctildr
LIBS = -lcivetweb -levent_core -lcoap-3-openssl -lcbor -lsqlite3 -lconfig -lcurl -ljansson -lp11 -lssl -lcrypto -pthread

# One static archive per folder, in link order: users before what they use.
FOLDERS  = gateway/http gateway/coap gateway/core gateway/mdm gateway/verifier gateway/ca gateway/outbound gateway/store coap policy/attest scep policy est base
archive  = $(O)/lib$(subst /,_,$(1)).a
ARCHIVES = $(foreach f,$(FOLDERS),$(call archive,$(f)))
objects  = $(patsubst %.c,$(O)/obj/%.o,$(wildcard $(1)/*.c))

PROGRAMS = $(O)/enrolld $(O)/enrollctl $(O)/devsim
FUZZ     = $(patsubst tests/fuzz/%_fuzz.c,%,$(wildcard tests/fuzz/*_fuzz.c))
REPLAY   = $(FUZZ:%=$(O)/replay/%)
UNIT     = $(patsubst tests/unit/%.c,$(O)/unit/%,$(wildcard tests/unit/*_test.c))

.DEFAULT_GOAL := all
# What `make test` calls runs on all cores, unless make was given a -j itself.
PARALLEL = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
# Of pytest, on two cores: tests wait more than they compute.
WORKERS ?= 3
.PHONY: FORCE all help demo test test-peers unit replay system leaks bench fuzz fuzz-targets lint install clean
.SECONDARY:

all: $(PROGRAMS)

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

define folder_rule
$(call archive,$(1)): $(call objects,$(1))
	@rm -f $$@
	$$(Q)$$(AR) rcs $$@ $$^
endef
$(foreach f,$(FOLDERS),$(eval $(call folder_rule,$(f))))

$(O)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(O)/enrolld: $(call objects,gateway) $(ARCHIVES)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
$(O)/enrollctl: $(call objects,gateway/ctl) $(call archive,base)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -ljansson -lcrypto
$(O)/devsim: $(O)/obj/devsim/main.o $(foreach f,devsim coap policy/attest scep policy est base,$(call archive,$(f)))
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcbor $(TSS) -ljansson -lssl -lcrypto -pthread

$(call archive,devsim): $(filter-out %/main.o,$(call objects,devsim))
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(O)/replay/%: $(O)/obj/tests/fuzz/%_fuzz.o $(O)/obj/tests/fuzz/replay.o $(call archive,devsim) $(ARCHIVES)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(TSS) $(LIBS)
$(O)/fuzz/%: $(O)/obj/tests/fuzz/%_fuzz.o $(call archive,devsim) $(ARCHIVES)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(TSS) $(LIBS)
$(O)/bench/load: $(O)/obj/tests/bench/load.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lssl -lcrypto
$(O)/bench/timing: $(O)/obj/tests/bench/timing.o $(call archive,scep) $(call archive,est) $(call archive,base)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcrypto -pthread
$(O)/bench/decide: $(O)/obj/tests/bench/decide.o $(ARCHIVES)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
$(O)/bench/dtls: $(O)/obj/tests/bench/dtls.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lssl -lcrypto
$(O)/bench/fill: $(O)/obj/tests/bench/fill.o $(ARCHIVES)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(O)/ca/drive: $(O)/obj/tests/ca/drive.o $(ARCHIVES)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
$(O)/ca/cmp_ca: $(patsubst %,$(O)/obj/tests/ca/%.o,cmp_ca cmp_ca_answer cmp_ca_issue cmp_ca_records) $(call archive,base)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcivetweb -lcrypto -pthread
# Loaded into enrolld by the tests of crashes; never with a sanitizer of its own.
$(O)/ca/halt.so: tests/ca/halt.c
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 -O1 -g -I. $(WARN) $(if $(WERROR),-Werror) -fPIC -shared -o $@ $< -ldl -pthread
$(O)/tests/tpm_tool: $(O)/obj/tests/tpm/tool.o $(call archive,policy/attest) $(call archive,policy) $(call archive,base)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -ljansson -lcrypto

$(O)/unit/%: $(O)/obj/tests/unit/%.o $(call archive,devsim) $(ARCHIVES)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(TSS) $(LIBS)

## demo     build, make a demo directory, enroll and renew a simulated fleet
demo:
	@.ci/deps build
	@$(MAKE) --no-print-directory all
	@devsim/demo.sh $(O) demo

## test     everything that must hold: unit tests, fuzz corpora, system and interop tests, under ASan and UBSan
test:
	@.ci/deps build test
	@$(MAKE) --no-print-directory $(PARALLEL) -Otarget SAN=1 WERROR=1 all unit replay
	@$(MAKE) --no-print-directory $(PARALLEL) SAN=1 WERROR=1 system

## unit     the unit tests (SAN=1: under AddressSanitizer and UBSan, SAN=thread: under TSan)
unit: $(UNIT:%=%.run)
$(O)/unit/%.run: $(O)/unit/% FORCE
	@$< > $@ 2>&1; code=$$?; cat $@; exit $$code
FORCE:

## replay   every seed and every input that ever crashed, through the fuzz targets
replay: $(REPLAY)
	@for t in $(FUZZ); do $(O)/replay/$$t tests/fuzz/corpus/$$t tests/fuzz/regression/$$t || exit 1; done

## system   pytest against the real programs, and clients that nobody here wrote
system: all $(O)/tests/tpm_tool $(O)/ca/drive $(O)/ca/cmp_ca $(O)/ca/halt.so
	ENROLLD_BIN="$(abspath $(O))" /usr/bin/python3 -m pytest -q -p no:cacheprovider -n $(WORKERS) --dist loadfile \
		tests/system tests/interop

## test-peers  CAs that no Debian package has (step-ca, Vault), fetched and built by the target itself
test-peers:
	@.ci/deps build test
	@$(MAKE) --no-print-directory SAN=1 WERROR=1 all out/asan/ca/drive
	@tests/peers/run.sh out/asan

## leaks    ten thousand enrollments over EST and a thousand over CoAP under valgrind
leaks:
	@.ci/deps build test
	@$(MAKE) --no-print-directory all $(O)/bench/load
	@tests/leaks.sh $(O)
	@tests/leaks.sh $(O) 1000 coap

## fuzz     every fuzz target for T seconds each (make fuzz T=60), libFuzzer with ASan and UBSan
T ?= 60
fuzz:
	@.ci/deps build fuzz
	@$(MAKE) --no-print-directory CC=clang SAN=fuzz fuzz-targets
	@for t in $(FUZZ); do echo "== $$t"; mkdir -p out/corpus/$$t; \
		out/fuzz/fuzz/$$t -max_total_time=$(T) -timeout=10 -rss_limit_mb=2048 -print_final_stats=0 -verbosity=0 \
			-artifact_prefix=out/corpus/$$t- out/corpus/$$t tests/fuzz/corpus/$$t || exit 1; done
fuzz-targets: $(FUZZ:%=$(O)/fuzz/%)

## lint     layers, sizes, manual pages, cppcheck, gcc -fanalyzer
lint:
	@.ci/deps build lint
	@tests/lint/run.sh

## bench    enrollments beside nginx's bare handshakes, and the rest of the figures
bench:
	@.ci/deps build test bench
	@$(MAKE) --no-print-directory all $(O)/ca/drive $(O)/ca/cmp_ca $(O)/bench/load $(O)/bench/fill $(O)/bench/timing $(O)/bench/dtls $(O)/bench/decide
	@tests/bench/run.sh $(O)

## install  to PREFIX (/usr/local), manual pages included
PREFIX ?= /usr/local
install: all $(O)/enrolld.conf.5
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 \
		$(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/man/man8 $(DESTDIR)$(PREFIX)/share/doc/enrolld
	install -m 755 $(O)/enrolld $(DESTDIR)$(PREFIX)/sbin/
	install -m 755 $(O)/enrollctl $(O)/devsim $(DESTDIR)$(PREFIX)/bin/
	install -m 644 gateway/man/enrollctl.1 devsim/devsim.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 $(O)/enrolld.conf.5 $(DESTDIR)$(PREFIX)/share/man/man5/
	install -m 644 gateway/man/enrolld.8 $(DESTDIR)$(PREFIX)/share/man/man8/
	install -m 644 gateway/enrolld.conf.example $(DESTDIR)$(PREFIX)/share/doc/enrolld/

$(O)/enrolld.conf.5: gateway/man/enrolld.conf.5.in $(O)/enrolld
	$(O)/enrolld --config-manual > $@.settings
	sed -e '/@SETTINGS@/{r $@.settings' -e 'd}' $< > $@

## clean    remove what was built
clean:
	rm -rf out

-include $(shell find $(O) -name '*.d' 2>/dev/null)
