/*
 * config_table_rows.h - how rows of the table are written, and those that stand in files of their own.
 */
#ifndef GATEWAY_CORE_CONFIG_TABLE_ROWS_H
#define GATEWAY_CORE_CONFIG_TABLE_ROWS_H

#include "gateway/core/config_table.h"

#define AT(type, field)                                                                                     \
	.offset = offsetof(struct type, field), .size = sizeof(((struct type *)0)->field), .count_offset = 0
#define LIST_AT(type, field, count)                                                                         \
	.offset = offsetof(struct type, field), .size = sizeof(((struct type *)0)->field[0]),               \
	.count_offset = offsetof(struct type, count)
#define TEXTS_AT(type, list) LIST_AT(type, list.at, list.count)
#define ROWS(rows) rows, sizeof(rows) / sizeof((rows)[0])
#define LIST_OF(entry, array, count)                                                                        \
	sizeof(struct entry), offsetof(struct config, array), offsetof(struct config, count)

#define SECONDS(n) ((int64_t)(n))
#define MINUTES(n) ((int64_t)(n) * 60)
#define DAYS(n)    ((int64_t)(n) * 86400)
#define KIB(n)     ((int64_t)(n) << 10)
#define MIB(n)     ((int64_t)(n) << 20)

/* config_table_policy.c, config_table_ca.c; the compiler compares the lengths. */
#define REGISTRY_ROWS 8
#define POLICY_ROWS   2
#define ATTESTER_ROWS 27
#define RULE_ROWS     21
#define CA_ROWS       30
extern const struct config_row config_registry_rows[REGISTRY_ROWS];
extern const struct config_row config_policy_rows[POLICY_ROWS];
extern const struct config_row config_attester_rows[ATTESTER_ROWS];
extern const struct config_row config_rule_rows[RULE_ROWS];

/* config_table_ca.c */
extern const struct config_row config_ca_rows[CA_ROWS];

#endif
