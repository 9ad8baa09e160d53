# enrolld: make, make demo, make test; `make help` lists the rest.
#
# SAN=1 builds with AddressSanitizer and UBSan, SAN=thread with TSan; each
# variant has a folder of its own under out/.

CC      ?= gcc
SAN     ?=
WERROR  ?=

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
else
O      = out/release
OPT    = -O2
endif

CFLAGS   ?= -g
CPPFLAGS += -I.
override CFLAGS += -std=c17 $(OPT) $(WARN) $(HARD) $(if $(WERROR),-Werror) -MMD -MP
override LDFLAGS += $(OPT) $(LHARD) -pthread
LIBS = -lcivetweb -levent_openssl -levent_pthreads -levent_core -lsqlite3 -lconfig -ljansson -lssl -lcrypto -pthread

# One static archive per folder, in link order: users before what they use.
FOLDERS  = gateway/http gateway/core gateway/ca gateway/store policy est base
archive  = $(O)/lib$(subst /,_,$(1)).a
ARCHIVES = $(foreach f,$(FOLDERS),$(call archive,$(f)))
objects  = $(patsubst %.c,$(O)/%.o,$(wildcard $(1)/*.c))

PROGRAMS = $(O)/enrolld $(O)/enrollctl $(O)/devsim
UNIT     = $(patsubst tests/unit/%.c,$(O)/unit/%,$(wildcard tests/unit/*_test.c))

.DEFAULT_GOAL := all
.PHONY: all help deps demo test unit system bench fuzz lint install clean
.SECONDARY:

all: $(PROGRAMS)

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

define folder_rule
$(call archive,$(1)): $(call objects,$(1))
	@rm -f $$@
	$$(AR) rcs $$@ $$^
endef
$(foreach f,$(FOLDERS),$(eval $(call folder_rule,$(f))))

$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(O)/enrolld: $(O)/gateway/main.o $(ARCHIVES)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
$(O)/enrollctl: $(call objects,gateway/ctl) $(call archive,base)
	$(CC) $(LDFLAGS) -o $@ $^ -ljansson -lcrypto
$(O)/devsim: $(call objects,devsim) $(call archive,est) $(call archive,base)
	$(CC) $(LDFLAGS) -o $@ $^ -ljansson -lssl -lcrypto -pthread

$(O)/unit/%: $(O)/tests/unit/%.o $(ARCHIVES)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)

## unit     the unit tests, under AddressSanitizer and UBSan with SAN=1
unit: $(UNIT)
	@for t in $(UNIT); do $$t || exit 1; done

clean:
	rm -rf out

-include $(shell find $(O) -name '*.d' 2>/dev/null)
