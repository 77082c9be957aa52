/* SPDX-License-Identifier: PostgreSQL
 *
 * oracle.tsv: statements, each with what a real primary and its standby did with it. No catalog
 * here.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "router_classify.h"

/* Only the catalog tells: a foreign table, unlogged tables. */
static const int needs_catalog[] = {28, 235, 361};

/* Reads that are missed: a cast to regclass, a SET LOCAL among others. */
static const int missed[] = {141, 372};

static int is_in(int id, const int *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i] == id)
            return 1;
    }
    return 0;
}

/* The next field of a line, ended in place. */
static char *field(char **line)
{
    char *start = *line;
    char *end = strchr(start, '\t');
    assert(end != NULL);
    *end = '\0';
    *line = end + 1;
    return start;
}

static int check(char *line, int *reads, int *found)
{
    static const char *const user_made[] = {"f_stable", "f_immut", "@#@", "crosstab"};
    const int id = (int)strtol(field(&line), NULL, 10);
    const char *class_text = field(&line);
    for (int i = 0; i < 4; i++)
        field(&line);
    const char *sql = field(&line);
    if (strstr(sql, " \u23f5 ") != NULL) /* a sequence */
        return 0;
    struct router_class class;
    router_classify(sql, strlen(sql), NULL, &class, NULL);
    const int is_read = class.verdict == ROUTER_VERDICT_READ;
    if (strcmp(class_text, "read") != 0) {
        if (is_read && !is_in(id, needs_catalog, sizeof(needs_catalog) / sizeof(int))) {
            fprintf(stderr, "%d is %s, called a read: %s\n", id, class_text, sql);
            return 1;
        }
        return 0;
    }
    for (size_t i = 0; i < sizeof(user_made) / sizeof(user_made[0]); i++) {
        if (strstr(sql, user_made[i]) != NULL)
            return 0;
    }
    ++*reads;
    *found += is_read;
    if (is_read || is_in(id, missed, sizeof(missed) / sizeof(int)))
        return 0;
    fprintf(stderr, "%d is a read, called %s: %s\n", id,
            router_reason_text((enum router_reason) class.reason), sql);
    return 1;
}

int main(int argc, char **argv)
{
    assert(argc == 2);
    FILE *file = fopen(argv[1], "r");
    if (file == NULL) {
        perror(argv[1]);
        return 1;
    }
    char *line = NULL;
    size_t room = 0;
    int failures = 0;
    int reads = 0;
    int found = 0;
    int lines = 0;
    while (getline(&line, &room, file) > 0) {
        if (lines++ > 0) /* the head */
            failures += check(line, &reads, &found);
    }
    free(line);
    fclose(file);
    printf("%d lines, %d of %d reads found\n", lines, found, reads);
    return failures == 0 && lines > 250 && found * 100 >= reads * 95 ? 0 : 1;
}
