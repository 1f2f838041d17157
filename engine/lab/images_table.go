package lab

// serviceImages returns the stand-ins of databases, caches, web servers and
// plain distributions. The facts of each row are from the Dockerfile named
// before it.
func serviceImages() []standIn {
	return []standIn{
		// docker-library/postgres 18/*/Dockerfile: the volume moved up in 18.
		{
			repo: "docker.io/library/postgres", match: "18-alpine* 18.*-alpine* alpine*", tags: "18-alpine", base: "alpine",
			entry: "docker-entrypoint.sh", cmd: "postgres", env: "LANG=en_US.utf8 PG_MAJOR=18 PGDATA=/var/lib/postgresql/18/docker",
			volumes: "/var/lib/postgresql", owner: "70:70", mode: 0o1777, ports: "5432/tcp", stop: "SIGINT",
			accounts: "postgres:70:70:/var/lib/postgresql",
		},
		{
			repo: "docker.io/library/postgres", match: "18* latest trixie", tags: "18 latest", base: "debian13",
			entry: "docker-entrypoint.sh", cmd: "postgres", env: "GOSU_VERSION=1.18 LANG=en_US.utf8 PG_MAJOR=18 PGDATA=/var/lib/postgresql/18/docker",
			volumes: "/var/lib/postgresql", owner: "999:999", mode: 0o1777, ports: "5432/tcp", stop: "SIGINT",
			accounts: "postgres:999:999:/var/lib/postgresql",
		},
		// docker-library/postgres 17/alpine3.22/Dockerfile
		{
			repo: "docker.io/library/postgres", match: "*-alpine*", tags: "17-alpine 16-alpine", base: "alpine",
			entry: "docker-entrypoint.sh", cmd: "postgres", env: "LANG=en_US.utf8 PGDATA=/var/lib/postgresql/data",
			volumes: "/var/lib/postgresql/data", owner: "70:70", mode: 0o1777, ports: "5432/tcp", stop: "SIGINT",
			accounts: "postgres:70:70:/var/lib/postgresql",
		},
		// docker-library/postgres 17/bookworm/Dockerfile
		{
			repo: "docker.io/library/postgres", tags: "17 16", base: "debian12",
			entry: "docker-entrypoint.sh", cmd: "postgres", env: "GOSU_VERSION=1.17 LANG=en_US.utf8 PGDATA=/var/lib/postgresql/data",
			volumes: "/var/lib/postgresql/data", owner: "999:999", mode: 0o1777, ports: "5432/tcp", stop: "SIGINT",
			accounts: "postgres:999:999:/var/lib/postgresql",
		},
		// immich-app/base-images postgres/Dockerfile, on pgvector's and docker-library/postgres
		{
			repo: "ghcr.io/immich-app/postgres", tags: "14-vectorchord0.4.3-pgvectors0.2.0 17-vectorchord0.4.3", base: "debian12",
			entry: "/usr/local/bin/immich-docker-entrypoint.sh", cmd: "postgres -c config_file=/etc/postgresql/postgresql.conf",
			env:     "GOSU_VERSION=1.17 LANG=en_US.utf8 PG_MAJOR=14 PGDATA=/var/lib/postgresql/data DB_STORAGE_TYPE=SSD",
			volumes: "/var/lib/postgresql/data", owner: "999:999", mode: 0o1777, ports: "5432/tcp", stop: "SIGINT",
			accounts: "postgres:999:999:/var/lib/postgresql",
		},
		// postgis/docker-postgis 17-3.5/Dockerfile, on docker-library/postgres
		{
			repo: "docker.io/postgis/postgis", tags: "17-3.5", base: "debian12", single: true,
			entry: "docker-entrypoint.sh", cmd: "postgres", env: "LANG=en_US.utf8 PG_MAJOR=17 PGDATA=/var/lib/postgresql/data POSTGIS_MAJOR=3",
			volumes: "/var/lib/postgresql/data", owner: "999:999", mode: 0o1777, ports: "5432/tcp", stop: "SIGINT",
			accounts: "postgres:999:999:/var/lib/postgresql",
		},
		// MariaDB/mariadb-docker 11.8/Dockerfile
		{
			repo: "docker.io/library/mariadb", tags: "lts latest 11", base: "ubuntu24",
			entry: "docker-entrypoint.sh", cmd: "mariadbd", env: "GOSU_VERSION=1.17 LANG=C.UTF-8",
			volumes: "/var/lib/mysql", owner: "999:999", ports: "3306/tcp", accounts: "mysql:999:999:/home/mysql",
		},
		// docker-library/mongo 8.0/Dockerfile
		{
			repo: "docker.io/library/mongo", tags: "8 latest", base: "ubuntu24",
			entry: "docker-entrypoint.sh", cmd: "mongod", env: "GOSU_VERSION=1.17 HOME=/data/db",
			volumes: "/data/configdb /data/db", owner: "999:999", ports: "27017/tcp", accounts: "mongodb:999:999:/data/db",
		},
		// redis/docker-library-redis alpine/Dockerfile and debian/Dockerfile
		{
			repo: "docker.io/library/redis", match: "*alpine*", tags: "8-alpine 7-alpine alpine", base: "alpine",
			entry: "docker-entrypoint.sh", cmd: "redis-server", dir: "/data",
			volumes: "/data", owner: "999:1000", ports: "6379/tcp", accounts: "redis:999:1000:/home/redis",
		},
		{
			repo: "docker.io/library/redis", tags: "8 7 latest", base: "debian12",
			entry: "docker-entrypoint.sh", cmd: "redis-server", dir: "/data",
			volumes: "/data", owner: "999:999", ports: "6379/tcp", accounts: "redis:999:999:/home/redis",
		},
		// valkey-io/valkey-container 8.0/alpine/Dockerfile and 8.0/debian/Dockerfile
		{
			repo: "docker.io/valkey/valkey", match: "*alpine*", tags: "8-alpine 9-alpine", base: "alpine",
			entry: "docker-entrypoint.sh", cmd: "valkey-server", dir: "/data",
			volumes: "/data", owner: "999:1000", ports: "6379/tcp", accounts: "valkey:999:1000:/home/valkey",
		},
		{
			repo: "docker.io/valkey/valkey", tags: "8-bookworm 8 9 latest", base: "debian12",
			entry: "docker-entrypoint.sh", cmd: "valkey-server", dir: "/data",
			volumes: "/data", owner: "999:999", ports: "6379/tcp", accounts: "valkey:999:999:/home/valkey",
		},
		// nginx/docker-nginx mainline/alpine-slim/Dockerfile and mainline/debian/Dockerfile
		{
			repo: "docker.io/library/nginx", match: "*alpine*", tags: "alpine", base: "alpine",
			entry: "/docker-entrypoint.sh", cmd: "nginx -g", arg: "daemon off;", ports: "80/tcp", stop: "SIGQUIT", accounts: "nginx:101:101:/var/cache/nginx",
		},
		{
			repo: "docker.io/library/nginx", tags: "latest 1.29 1.27", base: "debian12",
			entry: "/docker-entrypoint.sh", cmd: "nginx -g", arg: "daemon off;", ports: "80/tcp", stop: "SIGQUIT", accounts: "nginx:101:101:/nonexistent",
		},
		// caddyserver/caddy-docker 2.10/alpine/Dockerfile
		{
			repo: "docker.io/library/caddy", tags: "2-alpine 2 latest", base: "alpine", dir: "/srv",
			cmd: "caddy run --config /etc/caddy/Caddyfile --adapter caddyfile",
			env: "XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data", ports: "80/tcp 443/tcp 443/udp 2019/tcp",
		},
		// traefik/traefik-library-image v3.5/alpine/Dockerfile
		{repo: "docker.io/library/traefik", tags: "v3 latest", base: "alpine", entry: "/entrypoint.sh", cmd: "traefik", ports: "80/tcp"},
		// eclipse-mosquitto/mosquitto docker/2.0/Dockerfile
		{
			repo: "docker.io/library/eclipse-mosquitto", tags: "2 latest", base: "alpine",
			entry: "/docker-entrypoint.sh", cmd: "/usr/sbin/mosquitto -c /mosquitto/config/mosquitto.conf",
			volumes: "/mosquitto/data /mosquitto/log", owner: "1883:1883", ports: "1883/tcp", accounts: "mosquitto:1883:1883:/var/empty",
		},
		// influxdata/influxdata-docker influxdb/2.7/Dockerfile
		{
			repo: "docker.io/library/influxdb", tags: "2 latest", base: "debian12",
			entry: "/entrypoint.sh", cmd: "influxd", volumes: "/var/lib/influxdb2 /etc/influxdb2", owner: "1000:1000", ports: "8086/tcp",
			accounts: "influxdb:1000:1000:/home/influxdb",
		},
		// meilisearch/meilisearch Dockerfile
		{
			repo: "docker.io/getmeili/meilisearch", tags: "latest", base: "alpine", dir: "/meili_data",
			entry: "tini --", cmd: "/bin/meilisearch", env: "MEILI_HTTP_ADDR=0.0.0.0:7700 MEILI_SERVER_PROVIDER=docker", ports: "7700/tcp",
		},
		// minio/minio Dockerfile.release
		{
			repo: "docker.io/minio/minio", tags: "latest", base: "",
			entry: "/usr/bin/docker-entrypoint.sh", cmd: "minio", volumes: "/data", ports: "9000/tcp",
		},
		// alpinelinux/docker-alpine, debuerreotype/docker-debian-artifacts, docker-library/busybox
		{repo: "docker.io/library/alpine", tags: "latest 3.22", base: "alpine", cmd: "/bin/sh"},
		{repo: "docker.io/library/debian", tags: "latest 13 12", base: "debian13", cmd: "bash"},
		{repo: "docker.io/library/ubuntu", tags: "latest 24.04", base: "ubuntu24", cmd: "/bin/bash"},
		{repo: "docker.io/library/busybox", tags: "latest", base: "busybox", cmd: "sh"},
		// docker-library/hello-world: from scratch, without /etc/passwd
		{repo: "docker.io/library/hello-world", tags: "latest", base: "", cmd: "/hello"},
	}
}
