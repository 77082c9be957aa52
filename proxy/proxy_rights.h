/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_rights: whom the process runs as, and who may look into it. The supervisor's thread, at the
 * start.
 */
#ifndef PROXY_RIGHTS_H
#define PROXY_RIGHTS_H

#include "config.h"

/* Becomes run_as, if there is one, in all threads; and closes the process to core dumps and
 * debuggers. Everything that only root may open is open by now. False: *ret_error says why it must
 * not serve. */
bool rights_drop(const struct config *config, const char **ret_error);

#endif
