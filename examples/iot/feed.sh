#!/usr/bin/env bash
# Sends a file of readings as a sensor would: feed.sh FILE [PORT]
set -euo pipefail
exec 3<> "/dev/tcp/127.0.0.1/${2:-7878}"
cat "$1" >&3
