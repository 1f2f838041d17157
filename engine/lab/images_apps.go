package lab

// appImages returns the stand-ins of the remaining applications. The facts of
// each row are from the Dockerfile named before it.
func appImages() []standIn {
	return []standIn{
		// actualbudget/actual sync-server.Dockerfile
		{repo: "docker.io/actualbudget/actual-server", tags: "latest", base: "debian12", dir: "/app", entry: "/usr/bin/tini -g --", cmd: "node app.js", env: "NODE_ENV=production", ports: "5006/tcp", accounts: "actual:1001:1001:/home/actual"},
		// AdguardTeam/AdGuardHome docker/Dockerfile
		{
			repo: "docker.io/adguard/adguardhome", tags: "latest", base: "alpine", dir: "/opt/adguardhome/work", entry: "/opt/adguardhome/AdGuardHome",
			cmd:   "--no-check-update -c /opt/adguardhome/conf/AdGuardHome.yaml -w /opt/adguardhome/work",
			ports: "53/tcp 53/udp 67/udp 68/udp 80/tcp 443/tcp 443/udp 853/tcp 853/udp 3000/tcp",
		},
		// authelia/authelia Dockerfile
		{repo: "ghcr.io/authelia/authelia", tags: "latest", base: "alpine", dir: "/app", entry: "/app/entrypoint.sh", env: "PUID=0 PGID=0 X_AUTHELIA_CONFIG=/config/configuration.yml", volumes: "/config", ports: "9091/tcp"},
		// goauthentik/authentik Dockerfile
		{
			repo: "ghcr.io/goauthentik/server", tags: "latest", base: "debian12", entry: "dumb-init -- ak", user: "1000",
			env: "TMPDIR=/dev/shm/ PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 GOFIPS=1", path: "/ak-root/.venv/bin:/lifecycle:", ports: "9000/tcp 9443/tcp", accounts: "authentik:1000:1000:/authentik",
		},
		// dgtlmoon/changedetection.io Dockerfile
		{repo: "ghcr.io/dgtlmoon/changedetection.io", tags: "latest", base: "debian12", dir: "/app", entry: "/docker-entrypoint.sh", cmd: "python ./changedetection.py -d /datastore", env: "PYTHONUNBUFFERED=1 PYTHONPATH=/usr/local", ports: "5000/tcp"},
		// cloudflare/cloudflared Dockerfile, on distroless: no shell
		{repo: "docker.io/cloudflare/cloudflared", tags: "latest", base: "distroless", entry: "cloudflared --no-autoupdate", cmd: "version", env: "NO_AUTOUPDATE=true", user: "65532:65532", accounts: "nonroot:65532:65532:/home/nonroot"},
		// forgejo/forgejo Dockerfile.rootless
		{
			repo: "codeberg.org/forgejo/forgejo", tags: "11-rootless", base: "alpine", dir: "/var/lib/gitea", entry: "/usr/bin/dumb-init -- /usr/local/bin/docker-entrypoint.sh",
			env: "GITEA_WORK_DIR=/var/lib/gitea GITEA_CUSTOM=/var/lib/gitea/custom GITEA_TEMP=/tmp/gitea HOME=/var/lib/gitea/git", user: "1000:1000",
			volumes: "/var/lib/gitea", owner: "1000:1000", ports: "2222/tcp 3000/tcp", accounts: "git:1000:1000:/var/lib/gitea/git",
		},
		// go-gitea/gitea Dockerfile.rootless and Dockerfile
		{
			repo: "docker.io/gitea/gitea", match: "*rootless*", tags: "1-rootless latest-rootless", base: "alpine", dir: "/var/lib/gitea", entry: "/usr/bin/dumb-init -- /usr/local/bin/docker-entrypoint.sh",
			env: "GITEA_WORK_DIR=/var/lib/gitea GITEA_CUSTOM=/var/lib/gitea/custom GITEA_TEMP=/tmp/gitea GITEA_APP_INI=/etc/gitea/app.ini HOME=/var/lib/gitea/git", user: "1000:1000",
			volumes: "/var/lib/gitea /etc/gitea", owner: "1000:1000", ports: "2222/tcp 3000/tcp", accounts: "git:1000:1000:/var/lib/gitea/git",
		},
		{
			repo: "docker.io/gitea/gitea", tags: "latest 1", base: "alpine", entry: "/usr/bin/entrypoint", cmd: "/usr/bin/s6-svscan /etc/s6",
			env: "USER=git GITEA_CUSTOM=/data/gitea", volumes: "/data", ports: "22/tcp 3000/tcp", accounts: "git:1000:1000:/data/git",
		},
		// firefly-iii/docker Dockerfile, FreshRSS/FreshRSS Docker/Dockerfile
		{repo: "docker.io/fireflyiii/core", tags: "latest", base: "debian12", dir: "/var/www/html", entry: "/usr/local/bin/entrypoint.sh", user: "www-data", ports: "8080/tcp"},
		{
			repo: "docker.io/freshrss/freshrss", tags: "latest", base: "debian12", dir: "/var/www/FreshRSS", entry: "./Docker/entrypoint.sh",
			cmd: "apache2 -D FOREGROUND", env: "COPY_LOG_TO_SYSLOG=On COPY_SYSLOG_TO_STDERR=On DATA_PATH=/var/www/FreshRSS/data FRESHRSS_ENV=production", ports: "80/tcp",
		},
		// filebrowser/filebrowser Dockerfile
		{repo: "docker.io/filebrowser/filebrowser", tags: "latest", base: "busybox", entry: "tini -- /init.sh", user: "user", volumes: "/srv /config /database", owner: "1000:1000", ports: "80/tcp", accounts: "user:1000:1000:/home/user"},
		// ghostfolio/ghostfolio Dockerfile
		{repo: "docker.io/ghostfolio/ghostfolio", tags: "latest", base: "debian12", dir: "/ghostfolio/apps/api", cmd: "/ghostfolio/entrypoint.sh", env: "NODE_ENV=production", user: "node", ports: "3333/tcp", accounts: "node:1000:1000:/home/node"},
		// gotify/server docker/Dockerfile
		{repo: "ghcr.io/gotify/server", tags: "latest", base: "debian12", dir: "/app", entry: "./gotify-app", env: "GOTIFY_SERVER_PORT=80", ports: "80/tcp"},
		// grafana/grafana Dockerfile
		{
			repo: "docker.io/grafana/grafana", tags: "latest", base: "alpine", dir: "/usr/share/grafana", entry: "/run.sh", user: "472",
			env:   "GF_PATHS_CONFIG=/etc/grafana/grafana.ini GF_PATHS_DATA=/var/lib/grafana GF_PATHS_HOME=/usr/share/grafana GF_PATHS_LOGS=/var/log/grafana GF_PATHS_PLUGINS=/var/lib/grafana/plugins GF_PATHS_PROVISIONING=/etc/grafana/provisioning",
			ports: "3000/tcp", path: "/usr/share/grafana/bin:", accounts: "grafana:472:0:/home/grafana",
		},
		// home-assistant/core Dockerfile, on docker-base (s6-overlay)
		{repo: "ghcr.io/home-assistant/home-assistant", tags: "stable", base: "alpine", dir: "/config", entry: "/init", env: "LANG=C.UTF-8 S6_SERVICES_GRACETIME=240000 UV_SYSTEM_PYTHON=true"},
		{repo: "docker.io/homeassistant/home-assistant", tags: "stable", base: "alpine", dir: "/config", entry: "/init", env: "LANG=C.UTF-8 S6_SERVICES_GRACETIME=240000 UV_SYSTEM_PYTHON=true"},
		// gethomepage/homepage Dockerfile
		{repo: "ghcr.io/gethomepage/homepage", tags: "latest", base: "alpine", dir: "/app", entry: "docker-entrypoint.sh", cmd: "node server.js", env: "NODE_ENV=production HOSTNAME=:: PORT=3000", ports: "3000/tcp"},
		// homarr-labs/homarr Dockerfile
		{repo: "ghcr.io/homarr-labs/homarr", tags: "latest", base: "alpine", dir: "/app", entry: "/app/entrypoint.sh", cmd: "sh run.sh", env: "NODE_ENV=production DB_URL=/appdata/db/db.sqlite", volumes: "/appdata", ports: "7575/tcp"},
		// karakeep-app/karakeep docker/Dockerfile (s6-overlay)
		{repo: "ghcr.io/karakeep-app/karakeep", tags: "release", base: "alpine", dir: "/app", entry: "/init", env: "NODE_ENV=production DATA_DIR=/data PORT=3000", volumes: "/data", ports: "3000/tcp"},
		// kimai/kimai Dockerfile
		{repo: "docker.io/kimai/kimai2", tags: "apache", base: "debian12", dir: "/opt/kimai", cmd: "/entrypoint.sh", env: "DATABASE_URL=mysql://kimai:kimai@127.0.0.1:3306/kimai TIMEZONE=Europe/Berlin", volumes: "/opt/kimai/var/data", owner: "33:33", ports: "8001/tcp"},
		// element-hq/synapse docker/Dockerfile
		{repo: "docker.io/matrixdotorg/synapse", tags: "latest", base: "debian12", entry: "/start.py", ports: "8008/tcp 8009/tcp 8448/tcp"},
		// mattermost/mattermost server/build/Dockerfile
		{
			repo: "docker.io/mattermost/mattermost-team-edition", tags: "latest", base: "ubuntu24", dir: "/mattermost", entry: "/entrypoint.sh", cmd: "/mattermost/bin/mattermost", user: "mattermost", path: "/mattermost/bin:",
			volumes: "/mattermost/data /mattermost/logs /mattermost/config /mattermost/plugins /mattermost/client/plugins", owner: "2000:2000", ports: "8065/tcp 8067/tcp 8074/tcp 8075/tcp", accounts: "mattermost:2000:2000:/mattermost", single: true,
		},
		// mealie-recipes/mealie docker/Dockerfile
		{repo: "ghcr.io/mealie-recipes/mealie", tags: "latest", base: "debian12", dir: "/app", entry: "/app/run.sh", env: "PRODUCTION=true TESTING=false APP_PORT=9000 MEALIE_HOME=/app", volumes: "/app/data", ports: "9000/tcp", accounts: "abc:911:911:/app"},
		// usememos/memos scripts/Dockerfile
		{repo: "ghcr.io/usememos/memos", tags: "stable latest", base: "alpine", dir: "/usr/local/memos", entry: "./entrypoint.sh", cmd: "./memos", env: "TZ=UTC MEMOS_MODE=prod MEMOS_PORT=5230", volumes: "/var/opt/memos", ports: "5230/tcp"},
		// miniflux/v2 packaging/docker/alpine/Dockerfile
		{repo: "docker.io/miniflux/miniflux", tags: "latest", base: "alpine", cmd: "/usr/bin/miniflux", env: "LISTEN_ADDR=0.0.0.0:8080", user: "65534", ports: "8080/tcp"},
		// n8n-io/n8n docker/images/n8n/Dockerfile
		{repo: "docker.io/n8nio/n8n", tags: "latest", base: "alpine", dir: "/home/node", entry: "tini -- /docker-entrypoint.sh", env: "NODE_ENV=production SHELL=/bin/sh", user: "node", ports: "5678/tcp", accounts: "node:1000:1000:/home/node"},
		// netbox-community/netbox-docker Dockerfile
		{repo: "docker.io/netboxcommunity/netbox", tags: "latest", base: "ubuntu24", dir: "/opt/netbox/netbox", entry: "/usr/bin/tini --", cmd: "/opt/netbox/docker-entrypoint.sh /opt/netbox/launch-netbox.sh", env: "LANG=C.utf8", path: "/opt/netbox/venv/bin:", user: "unit:root", accounts: "unit:999:999:/opt/unit"},
		// nextcloud/docker 31/apache/Dockerfile and 31/fpm/Dockerfile
		{repo: "docker.io/library/nextcloud", tags: "stable latest", base: "debian12", dir: "/var/www/html", entry: "/entrypoint.sh", cmd: "apache2-foreground", env: "PHP_MEMORY_LIMIT=512M PHP_UPLOAD_LIMIT=512M", volumes: "/var/www/html", owner: "33:33", ports: "80/tcp", stop: "SIGWINCH"},
		// NginxProxyManager/nginx-proxy-manager docker/Dockerfile (s6-overlay)
		{repo: "docker.io/jc21/nginx-proxy-manager", tags: "latest 2", base: "debian12", dir: "/app", entry: "/init", env: "SUPPRESS_NO_CONFIG_WARNING=1 S6_BEHAVIOUR_IF_STAGE2_FAILS=1 NODE_ENV=production", volumes: "/data", ports: "80/tcp 81/tcp 443/tcp"},
		// node-red/node-red-docker docker-custom/Dockerfile.custom
		{repo: "docker.io/nodered/node-red", tags: "latest", base: "alpine", dir: "/usr/src/node-red", entry: "./entrypoint.sh", env: "NODE_PATH=/usr/src/node-red/node_modules:/data/node_modules FLOWS=flows.json", user: "node-red", volumes: "/data", owner: "1000:0", ports: "1880/tcp", accounts: "node-red:1000:1000:/usr/src/node-red"},
		// binwiederhier/ntfy Dockerfile
		{repo: "docker.io/binwiederhier/ntfy", tags: "latest", base: "alpine", entry: "ntfy", ports: "80/tcp"},
		// open-webui/open-webui Dockerfile
		{repo: "ghcr.io/open-webui/open-webui", tags: "main", base: "debian12", dir: "/app/backend", cmd: "bash start.sh", env: "ENV=prod PORT=8080 HOME=/root DOCKER=true", user: "0:0", ports: "8080/tcp"},
		// ollama/ollama Dockerfile
		{repo: "docker.io/ollama/ollama", tags: "latest", base: "ubuntu24", entry: "/bin/ollama", cmd: "serve", env: "NVIDIA_DRIVER_CAPABILITIES=compute,utility NVIDIA_VISIBLE_DEVICES=all OLLAMA_HOST=0.0.0.0:11434", ports: "11434/tcp", groups: "render:993"},
		// outline/outline Dockerfile
		{repo: "docker.io/outlinewiki/outline", tags: "latest", base: "debian12", dir: "/opt/outline", entry: "docker-entrypoint.sh", cmd: "node build/server/index.js", env: "NODE_ENV=production FILE_STORAGE_LOCAL_ROOT_DIR=/var/lib/outline/data", user: "nodejs", volumes: "/var/lib/outline/data", owner: "1001:1001", ports: "3000/tcp", accounts: "nodejs:1001:1001:/home/nodejs"},
		// paperless-ngx/paperless-ngx Dockerfile (s6-overlay)
		{
			repo: "ghcr.io/paperless-ngx/paperless-ngx", tags: "latest", base: "debian12", dir: "/usr/src/paperless/src/", entry: "/init",
			env:     "PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PNGX_CONTAINERIZED=1 S6_CMD_WAIT_FOR_SERVICES_MAXTIME=0",
			volumes: "/usr/src/paperless/data /usr/src/paperless/media /usr/src/paperless/consume /usr/src/paperless/export", owner: "1000:1000", ports: "8000/tcp", accounts: "paperless:1000:1000:/usr/src/paperless",
		},
		// gotenberg/gotenberg build/Dockerfile, apache/tika-docker full/Dockerfile
		{repo: "docker.io/gotenberg/gotenberg", tags: "8 latest", base: "debian12", dir: "/home/gotenberg", entry: "/usr/bin/tini --", cmd: "gotenberg", user: "gotenberg", ports: "3000/tcp", accounts: "gotenberg:1001:1001:/home/gotenberg"},
		{repo: "docker.io/apache/tika", tags: "latest", base: "ubuntu24", entry: "/bin/sh -c", arg: "exec java -cp \"/tika-server-standard.jar:/tika-extras/*\" org.apache.tika.server.core.TikaServerCli -h 0.0.0.0 $0 $@", user: "35002:35002", ports: "9998/tcp"},
		// pi-hole/docker-pi-hole src/Dockerfile
		{repo: "docker.io/pihole/pihole", tags: "latest", base: "alpine", entry: "start.sh", env: "DNSMASQ_USER=pihole FTL_CMD=no-daemon", ports: "53/tcp 53/udp 67/udp 80/tcp 123/udp 443/tcp", accounts: "pihole:1000:1000:/home/pihole"},
		// pocket-id/pocket-id docker/Dockerfile
		{repo: "ghcr.io/pocket-id/pocket-id", tags: "v1", base: "alpine", dir: "/app", entry: "sh /app/docker/entrypoint.sh", cmd: "/app/pocket-id", env: "APP_ENV=production", ports: "1411/tcp"},
		// prometheus/prometheus Dockerfile, on prom/busybox
		{
			repo: "docker.io/prom/prometheus", tags: "latest", base: "busybox", dir: "/prometheus", entry: "/bin/prometheus", user: "nobody",
			cmd: "--config.file=/etc/prometheus/prometheus.yml --storage.tsdb.path=/prometheus", volumes: "/prometheus", owner: "65534:65534", ports: "9090/tcp",
		},
		// searxng/searxng container/dist.dockerfile, on Void Linux, which pct create does not know
		{repo: "docker.io/searxng/searxng", tags: "latest", base: "void", dir: "/usr/local/searxng", entry: "/usr/local/searxng/entrypoint.sh", env: "SEARXNG_SETTINGS_PATH=/etc/searxng/settings.yml GRANIAN_PORT=8080", volumes: "/etc/searxng /var/cache/searxng", owner: "977:977", ports: "8080/tcp", accounts: "searxng:977:977:/usr/local/searxng"},
		// Stirling-Tools/Stirling-PDF docker/Dockerfile
		{repo: "ghcr.io/stirling-tools/stirling-pdf", tags: "latest", base: "alpine", entry: "tini -- /scripts/init.sh", cmd: "java -Dfile.encoding=UTF-8 -jar /app.jar", env: "PUID=1000 PGID=1000 UMASK=022", ports: "8080/tcp", accounts: "stirlingpdfuser:1000:1000:/home/stirlingpdfuser"},
		// syncthing/syncthing Dockerfile
		{repo: "docker.io/syncthing/syncthing", tags: "latest 2", base: "alpine", entry: "/bin/entrypoint.sh /bin/syncthing", env: "PUID=1000 PGID=1000 HOME=/var/syncthing STGUIADDRESS=0.0.0.0:8384 STHOMEDIR=/var/syncthing/config", volumes: "/var/syncthing", ports: "8384/tcp 21027/udp 22000/tcp 22000/udp"},
		// tailscale/tailscale Dockerfile
		{repo: "ghcr.io/tailscale/tailscale", tags: "stable latest", base: "alpine", cmd: "/usr/local/bin/containerboot"},
		{repo: "docker.io/tailscale/tailscale", tags: "stable latest", base: "alpine", cmd: "/usr/local/bin/containerboot"},
		// louislam/uptime-kuma docker/dockerfile
		{repo: "docker.io/louislam/uptime-kuma", tags: "2 1 latest", base: "debian12", dir: "/app", entry: "/usr/bin/dumb-init --", cmd: "node server/server.js", env: "UPTIME_KUMA_IS_CONTAINER=1", volumes: "/app/data", ports: "3001/tcp"},
		// dani-garcia/vaultwarden docker/Dockerfile.debian
		{repo: "docker.io/vaultwarden/server", tags: "latest", base: "debian12", cmd: "/start.sh", env: "ROCKET_PROFILE=release ROCKET_ADDRESS=0.0.0.0 ROCKET_PORT=80 DEBIAN_FRONTEND=noninteractive", volumes: "/data", ports: "80/tcp"},
		{repo: "ghcr.io/dani-garcia/vaultwarden", tags: "latest", base: "debian12", cmd: "/start.sh", env: "ROCKET_PROFILE=release ROCKET_ADDRESS=0.0.0.0 ROCKET_PORT=80 DEBIAN_FRONTEND=noninteractive", volumes: "/data", ports: "80/tcp"},
		// go-vikunja/vikunja Dockerfile: from scratch, with a numeric user
		{repo: "docker.io/vikunja/vikunja", tags: "latest", base: "", dir: "/app/vikunja", entry: "/app/vikunja/vikunja", env: "VIKUNJA_SERVICE_ROOTPATH=/app/vikunja/ VIKUNJA_DATABASE_PATH=/db/vikunja.db", user: "1000", ports: "3456/tcp"},
		// wg-easy/wg-easy Dockerfile
		{repo: "ghcr.io/wg-easy/wg-easy", tags: "15 latest", base: "alpine", dir: "/app", entry: "docker-entrypoint.sh", cmd: "/usr/bin/dumb-init node server/index.mjs", env: "DEBUG=Server,WireGuard,Database,CMD PORT=51821 HOST=0.0.0.0", ports: "51820/udp 51821/tcp"},
		// requarks/wiki dev/build/Dockerfile
		{repo: "docker.io/requarks/wiki", tags: "2", base: "alpine", dir: "/wiki", entry: "docker-entrypoint.sh", cmd: "node server", user: "node", ports: "3000/tcp 3443/tcp", accounts: "node:1000:1000:/home/node"},
		{repo: "ghcr.io/requarks/wiki", tags: "2", base: "alpine", dir: "/wiki", entry: "docker-entrypoint.sh", cmd: "node server", user: "node", ports: "3000/tcp 3443/tcp", accounts: "node:1000:1000:/home/node"},
		// Koenkk/zigbee2mqtt docker/Dockerfile
		{repo: "docker.io/koenkk/zigbee2mqtt", tags: "latest", base: "alpine", dir: "/app", entry: "docker-entrypoint.sh", cmd: "/sbin/tini -- node index.js", env: "NODE_ENV=production"},
		{repo: "ghcr.io/koenkk/zigbee2mqtt", tags: "latest", base: "alpine", dir: "/app", entry: "docker-entrypoint.sh", cmd: "/sbin/tini -- node index.js", env: "NODE_ENV=production"},
		// elastic/elasticsearch distribution/docker: names of its variables hold dots
		{
			repo: "docker.io/library/elasticsearch", tags: "9.1.0", base: "ubi", dir: "/usr/share/elasticsearch", entry: "/bin/tini -- /usr/local/bin/docker-entrypoint.sh", cmd: "eswrapper",
			env: "ELASTIC_CONTAINER=true SHELL=/bin/bash", path: "/usr/share/elasticsearch/bin:", user: "1000:0", ports: "9200/tcp 9300/tcp", accounts: "elasticsearch:1000:1000:/usr/share/elasticsearch",
		},
		// RocketChat/Rocket.Chat apps/meteor/.docker/Dockerfile.alpine
		{
			repo: "registry.rocket.chat/rocketchat/rocket.chat", tags: "latest", base: "alpine", dir: "/app/bundle", cmd: "node main.js", user: "rocketchat",
			env: "DEPLOY_METHOD=docker NODE_ENV=production HOME=/tmp PORT=3000", volumes: "/app/uploads", owner: "65533:65533", ports: "3000/tcp", accounts: "rocketchat:65533:65533:/app",
		},
		// danny-avila/LibreChat Dockerfile
		{repo: "ghcr.io/danny-avila/librechat", tags: "latest", base: "alpine", dir: "/app", entry: "docker-entrypoint.sh", cmd: "npm run backend", env: "HOST=0.0.0.0", user: "node", ports: "3080/tcp", accounts: "node:1000:1000:/home/node"},
		// linkwarden/linkwarden Dockerfile
		{repo: "ghcr.io/linkwarden/linkwarden", tags: "latest", base: "debian12", dir: "/data", entry: "docker-entrypoint.sh", cmd: "sh -c", arg: "yarn prisma:deploy && yarn concurrently:start", ports: "3000/tcp", accounts: "node:1000:1000:/home/node"},
		// rommapp/romm docker/Dockerfile
		{repo: "ghcr.io/rommapp/romm", tags: "latest", base: "alpine", entry: "/docker-entrypoint.sh", cmd: "/init", volumes: "/redis-data", ports: "6379/tcp 8080/tcp", accounts: "romm:1000:1000:/home/romm"},
		// TandoorRecipes/recipes Dockerfile
		{repo: "ghcr.io/tandoorrecipes/recipes", tags: "latest", base: "alpine", dir: "/opt/recipes", entry: "/opt/recipes/boot.sh", env: "PYTHONUNBUFFERED=1 DOCKER=true", ports: "80/tcp 8080/tcp"},
		// element-hq/element-web Dockerfile, on nginx-unprivileged
		{repo: "ghcr.io/element-hq/element-web", tags: "latest", base: "alpine", entry: "/docker-entrypoint.sh", cmd: "nginx -g", arg: "daemon off;", env: "ELEMENT_WEB_PORT=80", user: "nginx", ports: "80/tcp", stop: "SIGQUIT", accounts: "nginx:101:101:/var/cache/nginx"},
		// esphome/esphome docker/Dockerfile
		{repo: "ghcr.io/esphome/esphome", tags: "latest", base: "debian12", dir: "/config", entry: "/entrypoint.sh", cmd: "dashboard /config", volumes: "/config", ports: "6052/tcp"},
		// joplin/joplin Dockerfile.server
		{repo: "docker.io/joplin/server", tags: "latest", base: "debian12", dir: "/home/joplin/packages/server", entry: "tini --", cmd: "node dist/app.js", env: "NODE_ENV=production RUNNING_IN_DOCKER=1", user: "joplin", ports: "22300/tcp", accounts: "joplin:1001:1001:/home/joplin"},
		// teslamate-org/teslamate Dockerfile and grafana/Dockerfile
		{repo: "docker.io/teslamate/teslamate", tags: "latest", base: "debian12", dir: "/opt/app", entry: "tini -- /bin/dash /entrypoint.sh", cmd: "bin/teslamate start", env: "LANG=C.UTF-8 SRTM_CACHE=/opt/app/.srtm_cache HOME=/opt/app", user: "nonroot:nonroot", ports: "4000/tcp", accounts: "nonroot:10001:10001:/opt/app"},
		{repo: "docker.io/teslamate/grafana", tags: "latest", base: "alpine", dir: "/usr/share/grafana", entry: "/run.sh", user: "grafana", env: "GF_PATHS_DATA=/var/lib/grafana GF_ANALYTICS_REPORTING_ENABLED=false", ports: "3000/tcp", accounts: "grafana:472:0:/home/grafana"},
		// Freika/dawarich docker/Dockerfile
		{repo: "docker.io/freikin/dawarich", tags: "latest", base: "debian12", dir: "/var/app", entry: "/usr/local/bin/web-entrypoint.sh", cmd: "bin/rails server -p 3000 -b ::", env: "APP_PATH=/var/app RAILS_ENV=production RAILS_PORT=3000", ports: "3000/tcp"},
		// crowdsecurity/crowdsec Dockerfile
		{repo: "docker.io/crowdsecurity/crowdsec", tags: "latest", base: "alpine", entry: "/bin/bash /docker_start.sh", volumes: "/var/lib/crowdsec/data /etc/crowdsec", ports: "6060/tcp 8080/tcp"},
		// tubearchivist/tubearchivist Dockerfile
		{repo: "docker.io/bbilly1/tubearchivist", tags: "latest", base: "debian12", dir: "/app", cmd: "./run.sh", env: "PYTHONUNBUFFERED=1", volumes: "/cache /youtube", ports: "8000/tcp"},
		// prometheus-pve/prometheus-pve-exporter Dockerfile
		{repo: "docker.io/prompve/prometheus-pve-exporter", tags: "latest 3", base: "alpine", dir: "/opt/prometheus-pve-exporter", entry: "/opt/prometheus-pve-exporter/bin/pve_exporter", user: "prometheus", ports: "9221/tcp", accounts: "prometheus:101:101:/opt/prometheus-pve-exporter"},
		// rustdesk/rustdesk-server docker-classic/Dockerfile: from scratch
		{repo: "docker.io/rustdesk/rustdesk-server", tags: "latest", base: "", dir: "/root", cmd: "/usr/bin/hbbs"},
		// Emby publishes no Dockerfile; volumes and ports are from its installation page.
		{repo: "docker.io/emby/embyserver", tags: "latest", base: "busybox", entry: "/init", volumes: "/config", ports: "1900/udp 7359/udp 8096/tcp 8920/tcp", docker: true, single: true},
	}
}
