/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_rights: see the header.
 */
#include "proxy_rights.h"

#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "proxy_log.h"

/* Leak checkers look into their own process as a debugger does. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LOOKED_INTO true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LOOKED_INTO true
#endif
#endif
#ifndef LOOKED_INTO
#define LOOKED_INTO false
#endif

static const char *become(const char *name)
{
    const struct passwd *user = getpwnam(name);
    if (user == NULL)
        return "run_as: there is no such user";
    if (user->pw_uid == geteuid())
        return NULL;
    if (geteuid() != 0)
        return "run_as: only root can become another user";
    if (user->pw_uid == 0)
        return NULL;
    /* glibc does it in every thread of the process */
    if (initgroups(name, user->pw_gid) != 0 ||
        setresgid(user->pw_gid, user->pw_gid, user->pw_gid) != 0 ||
        setresuid(user->pw_uid, user->pw_uid, user->pw_uid) != 0)
        return "run_as: the process could not become that user";
    return setuid(0) == 0 ? "run_as: the process could become root again" : NULL;
}

bool rights_drop(const struct config *config, const char **ret_error)
{
    const char *run_as = config->switchgear.run_as;
    *ret_error = run_as[0] != '\0' ? become(run_as) : NULL;
    if (*ret_error != NULL)
        return false;
    if (geteuid() == 0)
        log_warning(
            "runs_as_root",
            "why=\"whoever takes it over has the machine: start it as a user of its own, or "
            "set run_as\"");
    if (!config->switchgear.core_dumps && !LOOKED_INTO) {
        const struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)prctl(PR_SET_DUMPABLE, 0);
    }
    return true;
}
