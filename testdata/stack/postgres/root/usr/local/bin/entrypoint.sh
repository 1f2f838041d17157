#!/bin/sh
# Starts PostgreSQL as its own user, and makes the database cluster first where
# there is none, from POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB and
# POSTGRES_INITDB_ARGS.
set -eu

if [ "$(id -u)" = 0 ]; then
	mkdir -p "$PGDATA" /run/postgresql
	find "$PGDATA" /run/postgresql \! -user postgres -exec chown postgres:postgres {} +
	exec setpriv --reuid=postgres --regid=postgres --clear-groups -- "$0" "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
	user=${POSTGRES_USER:-postgres}
	umask 077
	printf '%s\n' "${POSTGRES_PASSWORD:?it is needed for a new database}" >/tmp/password
	# shellcheck disable=SC2086 # several arguments
	initdb --pgdata="$PGDATA" --username="$user" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 ${POSTGRES_INITDB_ARGS:-}
	rm /tmp/password
	echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
	if [ "${POSTGRES_DB:-postgres}" != postgres ]; then
		echo "CREATE DATABASE \"$POSTGRES_DB\"" | postgres --single -D "$PGDATA" postgres
	fi
fi
unset POSTGRES_PASSWORD
exec "$@" -c listen_addresses='*'
