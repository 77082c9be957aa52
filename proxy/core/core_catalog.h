/* SPDX-License-Identifier: PostgreSQL
 *
 * core_catalog: what the names in a session's texts mean, as far as that is known. For the session
 * core alone.
 */
#ifndef CORE_CATALOG_H
#define CORE_CATALOG_H

#include "core_state.h"

/* For the next text of this session. Cheap: asked for each of them. */
struct router_context core_catalog_context(const struct core_session *s);
/* A statement that may change the catalog is about to be sent to the primary, or its transaction is
 * over: no facts hold that were asked for before. */
void core_catalog_changed(const struct core_session *s);
/* Something ran there that may have changed it unseen. */
void core_catalog_suspect(const struct core_session *s);

#endif
