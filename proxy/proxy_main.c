/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_main: the command line.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy_check_connect.h"
#include "proxy_config_load.h"
#include "proxy_run.h"
#include "proxy_tls.h"
#include "router_classify.h"

enum { EXIT_CONFIG = 1, EXIT_USAGE = 2, ASSIGNMENTS_MAX = 128 };

static const char usage[] =
    "switchgear " SWITCHGEAR_VERSION ": a PostgreSQL proxy that splits reads from writes\n"
    "\n"
    "usage:\n"
    "  switchgear serve [CONFIG]        run; without CONFIG, from the environment\n"
    "  switchgear check [--connect] [CONFIG]   parse and validate, print every error;\n"
    "                                   with --connect log in to every node and database, too\n"
    "  switchgear classify [-0]         statements from standard input, one a line (or ended by\n"
    "                                   NUL with -0); prints verdict<TAB>reason for each\n"
    "  switchgear show CONFIG-options   the option table\n"
    "  switchgear show sample           a commented sample configuration\n"
    "  switchgear show reference        the reference page of the configuration\n"
    "  switchgear --version | --help\n"
    "\n"
    "options of serve and check:\n"
    "  --listen ADDR          for example 127.0.0.1:6432\n"
    "  --http ADDR            /metrics, /health, /ready; empty: off\n"
    "  --admin-socket DIR     directory of the admin socket\n"
    "  --log-level LEVEL      error, warning, info, debug\n"
    "  --set SECTION.KEY=VALUE   for example switchgear.workers=2, node.pg1.port=5433\n"
    "\n"
    "environment, used when there is no CONFIG:\n"
    "  DATABASE_URL                                primary, a libpq URL\n"
    "  DATABASE_READ_REPLICAS                      replicas, separated by commas\n"
    "  DATABASE_REPLICA_FAILOVER_THRESHOLD         consecutive failures that open a breaker (3)\n"
    "  DATABASE_REPLICA_HEALTH_CHECK_INTERVAL      milliseconds between health probes\n"
    "  PGBOUNCER_POOL_SIZE                         default_pool_size\n"
    "  PGBOUNCER_RESERVE_POOL_SIZE                 reserve_pool_size\n";

static int usage_error(const char *message, const char *word)
{
    (void)fprintf(stderr, "switchgear: %s%s%s\nTry: switchgear --help\n", message,
                  word[0] != '\0' ? ": " : "", word);
    return EXIT_USAGE;
}

/* ---- serve and check ---- */

struct assignments {
    char texts[ASSIGNMENTS_MAX][512];
    const char *items[ASSIGNMENTS_MAX];
    size_t count;
};

static bool assign(struct assignments *a, const char *key, const char *value)
{
    if (a->count == ASSIGNMENTS_MAX)
        return false;
    char *text = a->texts[a->count];
    const int n = key[0] != '\0' ? snprintf(text, sizeof(a->texts[0]), "%s=%s", key, value)
                                 : snprintf(text, sizeof(a->texts[0]), "%s", value);
    if (n < 0 || (size_t)n >= sizeof(a->texts[0]))
        return false;
    a->items[a->count++] = text;
    return true;
}

static int parse_options(int argc, char **argv, struct assignments *a, bool *ret_connect)
{
    static const struct option options[] = {{"listen", required_argument, NULL, 'l'},
                                            {"http", required_argument, NULL, 'h'},
                                            {"admin-socket", required_argument, NULL, 'a'},
                                            {"log-level", required_argument, NULL, 'v'},
                                            {"set", required_argument, NULL, 's'},
                                            {"connect", no_argument, NULL, 'c'},
                                            {NULL, 0, NULL, 0}};
    int c;
    bool good = true;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1 && good) {
        switch (c) {
        case 'l':
            good = assign(a, "switchgear.listen", optarg);
            break;
        case 'h':
            good = assign(a, "switchgear.http_listen", optarg);
            break;
        case 'a':
            good = assign(a, "switchgear.admin_socket", optarg);
            break;
        case 'v':
            good = assign(a, "switchgear.log_level", optarg);
            break;
        case 's':
            good = assign(a, "", optarg);
            break;
        case 'c':
            *ret_connect = true;
            break;
        default:
            return usage_error("bad option", "");
        }
    }
    return good ? 0 : usage_error("too many or too long options", "");
}

static int serve_or_check(int argc, char **argv, bool serve)
{
    static struct assignments assignments;
    bool connect = false;
    const int bad = parse_options(argc, argv, &assignments, &connect);
    if (bad != 0)
        return bad;
    if (connect && serve)
        return usage_error("--connect is for check", "");
    if (argc - optind > 1)
        return usage_error("one configuration file at most", "");
    const char *path = optind < argc ? argv[optind] : NULL;
    if (path == NULL && getenv("DATABASE_URL") == NULL)
        return usage_error("name a configuration file, or set DATABASE_URL in the environment", "");
    const struct config_input input = {
        .path = path, .assignments = assignments.items, .assignments_count = assignments.count};
    struct config_problems problems;
    config_problems_init(&problems);
    SSL_CTX *tls = NULL;
    struct config *config = config_load(&input, &problems, &tls);
    config_problems_print(&problems);
    config_problems_deinit(&problems);
    if (config == NULL)
        return EXIT_CONFIG;
    if (serve)
        return run_serve(&input, config, tls);
    SSL_CTX_free(tls);
    const bool right = !connect || check_connect(config);
    config_destroy(config);
    if (right)
        (void)printf("%s: ok\n", path != NULL ? path : "environment");
    return right ? 0 : EXIT_CONFIG;
}

/* ---- classify ---- */

static int classify(int argc, char **argv)
{
    int delimiter = '\n';
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-0") == 0)
            delimiter = '\0';
        else if (argv[i][0] == '-')
            return usage_error("the catalog is not used by classify yet: bad option", argv[i]);
        else
            return usage_error("classify takes no configuration yet", argv[i]);
    }
    char *text = NULL;
    size_t capacity = 0;
    ssize_t size;
    while ((size = getdelim(&text, &capacity, delimiter, stdin)) > 0) {
        if (text[size - 1] == (char)delimiter)
            size--;
        struct router_class class;
        router_classify(text, (size_t)size, NULL, &class, NULL);
        (void)printf("%s\t%s\n", router_verdict_text((enum router_verdict) class.verdict),
                     router_reason_text((enum router_reason) class.reason));
    }
    free(text);
    return ferror(stdin) ? EXIT_USAGE : 0;
}

/* ---- show ---- */

static int show(int argc, char **argv)
{
    size_t (*writer)(char *buf, size_t buf_size) = NULL;
    if (argc != 2)
        return usage_error("show what? CONFIG-options, sample or reference", "");
    if (strcasecmp(argv[1], "CONFIG-options") == 0)
        writer = config_write_options;
    else if (strcasecmp(argv[1], "sample") == 0)
        writer = config_write_sample;
    else if (strcasecmp(argv[1], "reference") == 0)
        writer = config_write_reference;
    if (writer == NULL)
        return usage_error("show what? CONFIG-options, sample or reference, not", argv[1]);
    const size_t size = writer(NULL, 0);
    char *buf = malloc(size + 1);
    if (buf == NULL)
        return EXIT_USAGE;
    (void)writer(buf, size + 1);
    (void)fwrite(buf, 1, size, stdout);
    free(buf);
    return fflush(stdout) == 0 ? 0 : EXIT_USAGE;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0 ||
            (i == 1 && strcmp(argv[i], "help") == 0))
            return true;
    return false;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return usage_error("a command is missing", "");
    const char *command = argv[1];
    if (strcmp(command, "--version") == 0 || strcmp(command, "-V") == 0) {
        (void)printf("switchgear %s\n", SWITCHGEAR_VERSION);
        return 0;
    }
    if (wants_help(argc, argv)) {
        (void)fputs(usage, stdout);
        return 0;
    }
    if (strcmp(command, "serve") == 0)
        return serve_or_check(argc - 1, argv + 1, true);
    if (strcmp(command, "check") == 0)
        return serve_or_check(argc - 1, argv + 1, false);
    if (strcmp(command, "classify") == 0)
        return classify(argc - 1, argv + 1);
    if (strcmp(command, "show") == 0)
        return show(argc - 1, argv + 1);
    return usage_error("unknown command", command);
}
