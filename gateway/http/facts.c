#include "gateway/http/facts.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#define ID_OCTETS 16
#define SLOT_OCTETS 4
#define SLOTS_FIRST 64

/* conn_facts comes first, so that a pointer to it is a pointer to this. */
struct counted_facts {
	struct conn_facts facts;
	atomic_int references;
};

struct slot {
	uint8_t id[ID_OCTETS];
	const struct conn_facts *facts; /* NULL: free */
	size_t next_free;
};

static struct {
	pthread_mutex_t lock;
	struct slot *slots;
	size_t count, used;
	size_t first_free; /* count: none */
} registry = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Callers hold const facts: only the count changes, and it is not theirs. */
static struct counted_facts *
counted(const struct conn_facts *facts)
{
	return (struct counted_facts *)(uintptr_t)facts;
}

struct conn_facts *
facts_new(void)
{
	struct counted_facts *made = calloc(1, sizeof *made);

	if (made == NULL)
		return NULL;
	atomic_init(&made->references, 1);
	return &made->facts;
}

static const struct conn_facts *
facts_share(const struct conn_facts *facts)
{
	atomic_fetch_add_explicit(&counted(facts)->references, 1, memory_order_relaxed);
	return facts;
}

void
front_facts_put(const struct conn_facts *facts)
{
	if (facts == NULL ||
		atomic_fetch_sub_explicit(&counted(facts)->references, 1, memory_order_acq_rel) != 1)
		return;
	X509_free(facts->client_cert);
	x509_stack_free(facts->client_chain);
	free(counted(facts));
}

static int
grow(struct err *e)
{
	size_t i, count = registry.count == 0 ? SLOTS_FIRST : registry.count * 2;
	struct slot *slots;

	if (count > FACTS_SLOTS_MAX)
		return err_set(e, ERR_LIMIT, "%zu requests in flight", registry.used);
	slots = realloc(registry.slots, count * sizeof *slots);
	if (slots == NULL)
		return err_set(e, ERR_NOMEM, "request handles: no memory");
	for (i = registry.count; i < count; i++)
		slots[i] = (struct slot){ .next_free = i + 1 };
	registry.first_free = registry.count;
	registry.slots = slots;
	registry.count = count;
	return 0;
}

int
facts_register(const struct conn_facts *facts, char handle[FACTS_HANDLE_SIZE], struct err *e)
{
	uint8_t raw[ID_OCTETS + SLOT_OCTETS];
	size_t at;

	if (random_octets(raw, ID_OCTETS, e) != 0)
		return -1;
	(void)pthread_mutex_lock(&registry.lock);
	if (registry.first_free == registry.count && grow(e) != 0) {
		(void)pthread_mutex_unlock(&registry.lock);
		return -1;
	}
	at = registry.first_free;
	registry.first_free = registry.slots[at].next_free;
	memcpy(registry.slots[at].id, raw, ID_OCTETS);
	registry.slots[at].facts = facts_share(facts);
	registry.used++;
	(void)pthread_mutex_unlock(&registry.lock);
	raw[ID_OCTETS] = (uint8_t)(at >> 24);
	raw[ID_OCTETS + 1] = (uint8_t)(at >> 16);
	raw[ID_OCTETS + 2] = (uint8_t)(at >> 8);
	raw[ID_OCTETS + 3] = (uint8_t)at;
	hex_encode(bytes_of(raw, sizeof raw), handle);
	return 0;
}

/* The slot a handle names, or NULL. With the lock held. */
static struct slot *
find(const uint8_t raw[ID_OCTETS + SLOT_OCTETS])
{
	const uint8_t *n = raw + ID_OCTETS;
	size_t at = (size_t)n[0] << 24 | (size_t)n[1] << 16 | (size_t)n[2] << 8 | n[3];

	if (at >= registry.count || registry.slots[at].facts == NULL)
		return NULL;
	return CRYPTO_memcmp(registry.slots[at].id, raw, ID_OCTETS) == 0 ? &registry.slots[at] : NULL;
}

static bool
decode(const char *handle, uint8_t raw[ID_OCTETS + SLOT_OCTETS])
{
	struct err e;

	return handle != NULL &&
		hex_decode(bytes_of_text(handle), raw, ID_OCTETS + SLOT_OCTETS, &e) == 0;
}

const struct conn_facts *
front_facts_get(const char *handle)
{
	uint8_t raw[ID_OCTETS + SLOT_OCTETS];
	const struct conn_facts *facts = NULL;
	struct slot *slot;

	if (!decode(handle, raw))
		return NULL;
	(void)pthread_mutex_lock(&registry.lock);
	slot = find(raw);
	if (slot != NULL)
		facts = facts_share(slot->facts);
	(void)pthread_mutex_unlock(&registry.lock);
	return facts;
}

void
facts_remove(const char *handle)
{
	uint8_t raw[ID_OCTETS + SLOT_OCTETS];
	const struct conn_facts *facts = NULL;
	struct slot *slot;

	if (!decode(handle, raw))
		return;
	(void)pthread_mutex_lock(&registry.lock);
	slot = find(raw);
	if (slot != NULL) {
		facts = slot->facts;
		slot->facts = NULL;
		slot->next_free = registry.first_free;
		registry.first_free = (size_t)(slot - registry.slots);
		registry.used--;
	}
	(void)pthread_mutex_unlock(&registry.lock);
	front_facts_put(facts);
}

size_t
facts_count(void)
{
	size_t used;

	(void)pthread_mutex_lock(&registry.lock);
	used = registry.used;
	(void)pthread_mutex_unlock(&registry.lock);
	return used;
}
