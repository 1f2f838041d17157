# The stack as a straight script that a node runs: for each container fetch the
# image, create, configure, start, one after the other. What runs is replaced;
# data and fetched archives stay. It is started with
#
#     ssh root@NODE REGISTRY=127.0.0.1:5000 RELEASE=1 GREETING=hello sh <deploy.sh
set -eu
registry=$REGISTRY release=$RELEASE greeting=$GREETING
cache=/var/lib/vz/template/cache

# fetch IMAGE TAG
fetch() {
	[ -e "$cache/stack-$1-$2.tar" ] || skopeo copy "docker://$registry/stack/$1:$2" "oci-archive:$cache/stack-$1-$2.tar"
}

# data DATASET OWNER: the owner as it is outside the container
data() {
	zfs list "tank/$1" >/dev/null 2>&1 || zfs create -p "tank/$1"
	chown "$2:$2" "/tank/$1"
}

# create ID NAME IMAGE TAG ADDRESS OPTION...
create() {
	id=$1 name=$2 image=$3 tag=$4 address=$5
	shift 5
	if pct status "$id" >/dev/null 2>&1; then
		pct stop "$id"
		pct destroy "$id"
	fi
	pct create "$id" "local:vztmpl/stack-$image-$tag.tar" --hostname "$name" --rootfs local-zfs:8 \
		--net0 "name=eth0,bridge=vmbr0,ip=$address/24" --unprivileged 1 "$@"
}

# setenv ID NAME=VALUE...: beside what the image sets
setenv() {
	id=$1
	shift
	printf 'lxc.environment.runtime: %s\n' "$@" >>"/etc/pve/lxc/$id.conf"
}

fetch postgres 1
data stack/db 100999
create 201 stack-db postgres 1 10.10.10.21 --cores 2 --memory 1024
pct set 201 --mp0 /tank/stack/db,mp=/var/lib/postgresql/data
setenv 201 POSTGRES_USER=stack POSTGRES_PASSWORD=a-password POSTGRES_DB=items "POSTGRES_INITDB_ARGS=--data-checksums --no-sync"
pct start 201

fetch redis 1
data stack/redis 100998
create 202 stack-redis redis 1 10.10.10.22 --memory 512
pct set 202 --mp0 /tank/stack/redis,mp=/data
pct start 202

fetch ml "$release"
data stack/models 101001
create 203 stack-machine-learning ml "$release" 10.10.10.23 --memory 1024
pct set 203 --mp0 /tank/stack/models,mp=/cache
pct start 203

fetch web 1
data stack/library 101000
create 204 stack-web web 1 10.10.10.24 --cores 2 --memory 512
pct set 204 --mp0 /tank/stack/library,mp=/data
setenv 204 DB_HOSTNAME=10.10.10.21 DB_DATABASE=items DB_USERNAME=stack DB_PASSWORD=a-password \
	REDIS_HOSTNAME=10.10.10.22 MACHINE_LEARNING_URL=http://10.10.10.23:3003 "GREETING=$greeting"
pct start 204
