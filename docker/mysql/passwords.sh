#!/usr/bin/env bash
# Gives the accounts of init.sql the passwords of the environment, and unlocks them. MySQL's image runs this once, after
# init.sql, when it makes the database; run again in the container, it makes changed passwords valid.
# It is run or sourced, as its mode says: a subshell keeps its settings to itself.
(
    set -euo pipefail
    bytes_min=16

    fail() {
        echo "error: $1 The accounts stay locked; once docker/.env is right, run ${BASH_SOURCE[0]} in this container." >&2
        exit 1
    }

    # A string literal of SQL, under a mode without NO_BACKSLASH_ESCAPES.
    quoted() {
        local text=$1 backslash='\' quote="'"
        text=${text//"$backslash"/"$backslash$backslash"}
        printf '%s' "$quote${text//"$quote"/"$quote$quote"}$quote"
    }

    unlock() {
        local account=$1 variable=$2
        local password=${!variable-}
        [ -n "$password" ] || fail "$variable is not set."
        [ "$(printf '%s' "$password" | wc -c)" -ge "$bytes_min" ] || fail "$variable has fewer than $bytes_min bytes."
        echo "ALTER USER '$account'@'%' IDENTIFIED BY $(quoted "$password") ACCOUNT UNLOCK;"
    }

    # Both before either is sent.
    pms=$(unlock pms PMS_DB_PASSWORD)
    crm=$(unlock crm CRM_DB_PASSWORD)
    MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql --protocol=socket --user=root --default-character-set=utf8mb4 --binary-mode \
        <<< "SET SESSION sql_mode = ''; $pms $crm"
)
