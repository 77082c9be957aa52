#!/bin/sh
# SPDX-License-Identifier: PostgreSQL
#
# cmp_sample.sh SWITCHGEAR SAMPLE: the sample file is the program's own; made with
# `switchgear show sample`.
set -eu
"$1" show sample | cmp - "$2"
