package lab

// mediaImages returns the stand-ins of applications that keep photos, films,
// music and books. The facts of each row are from the Dockerfile named before it.
//
// A group "render" stands in the images that use a GPU, so that recipes which
// look it up find one; its number differs from the video group's, as on a real
// distribution.
func mediaImages() []standIn {
	return []standIn{
		// immich-app/immich server/Dockerfile, on immich-app/base-images server
		{
			repo: "ghcr.io/immich-app/immich-server", tags: "v3.1.0 v3.0.0 release", base: "debian13", dir: "/usr/src/app",
			entry: "tini -- /bin/bash -c", cmd: "start.sh",
			env:  "NODE_ENV=production NVIDIA_DRIVER_CAPABILITIES=all NVIDIA_VISIBLE_DEVICES=all",
			path: "/usr/src/app/bin:", volumes: "/data", ports: "2283/tcp", groups: "render:105", accounts: "node:1000:1000:/home/node",
		},
		// immich-app/immich machine-learning/Dockerfile
		{
			repo: "ghcr.io/immich-app/immich-machine-learning", tags: "v3.1.0 v3.0.0 release v3.1.0-cuda v3.1.0-openvino", base: "debian12", dir: "/usr/src",
			entry: "tini --", cmd: "python -m immich_ml",
			env:  "DEVICE=cpu TRANSFORMERS_CACHE=/cache PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 VIRTUAL_ENV=/opt/venv MACHINE_LEARNING_CACHE_FOLDER=/cache",
			path: "/opt/venv/bin:", ports: "3003/tcp", groups: "render:105",
		},
		// jellyfin/jellyfin-packaging docker/Dockerfile; build.py makes a Docker manifest list
		{
			repo: "docker.io/jellyfin/jellyfin", tags: "latest 10 10.11.11", base: "debian12", docker: true,
			entry: "/jellyfin/jellyfin", mode: 0o777,
			env: "HEALTHCHECK_URL=http://localhost:8096/health LC_ALL=en_US.UTF-8 LANG=en_US.UTF-8 JELLYFIN_DATA_DIR=/config JELLYFIN_CACHE_DIR=/cache " +
				"JELLYFIN_CONFIG_DIR=/config/config JELLYFIN_LOG_DIR=/config/log JELLYFIN_WEB_DIR=/jellyfin/jellyfin-web " +
				"JELLYFIN_FFMPEG=/usr/lib/jellyfin-ffmpeg/ffmpeg MALLOC_TRIM_THRESHOLD_=131072 NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,video,utility",
			volumes: "/config /cache", ports: "8096/tcp", groups: "render:105",
		},
		// linuxserver/docker-jellyfin Dockerfile, on docker-baseimage-ubuntu (s6-overlay)
		lsio("jellyfin", "ubuntu24", "8096/tcp 8920/tcp"),
		lsio("plex", "ubuntu24", "32400/tcp 1900/udp 32410/udp 32412/udp 32413/udp 32414/udp"),
		lsio("sonarr", "alpine", "8989/tcp"),
		lsio("radarr", "alpine", "7878/tcp"),
		lsio("lidarr", "alpine", "8686/tcp"),
		lsio("prowlarr", "alpine", "9696/tcp"),
		lsio("bazarr", "alpine", "6767/tcp"),
		lsio("qbittorrent", "alpine", "8080/tcp 6881/tcp 6881/udp"),
		lsio("transmission", "alpine", "9091/tcp 51413/tcp 51413/udp"),
		lsio("sabnzbd", "alpine", "8080/tcp"),
		lsio("tautulli", "alpine", "8181/tcp"),
		lsio("calibre-web", "ubuntu24", "8083/tcp"),
		lsio("bookstack", "alpine", "80/tcp 443/tcp"),
		// deluan/navidrome Dockerfile
		{
			repo: "docker.io/deluan/navidrome", tags: "latest", base: "alpine", dir: "/app", entry: "/app/navidrome",
			env: "ND_MUSICFOLDER=/music ND_DATAFOLDER=/data ND_CONFIGFILE=/data/navidrome.toml ND_PORT=4533", volumes: "/data /music", ports: "4533/tcp",
		},
		// advplyr/audiobookshelf Dockerfile
		{
			repo: "ghcr.io/advplyr/audiobookshelf", tags: "latest", base: "alpine", dir: "/app", entry: "tini --", cmd: "node index.js",
			env: "NODE_ENV=production PORT=80 CONFIG_PATH=/config METADATA_PATH=/metadata SOURCE=docker", ports: "80/tcp",
		},
		// gotson/komga komga/docker/Dockerfile.tpl
		{
			repo: "docker.io/gotson/komga", tags: "latest", base: "ubuntu24", dir: "/app",
			entry: "java -Dspring.profiles.include=docker -jar application.jar --spring.config.additional-location=file:/config/",
			env:   "KOMGA_CONFIGDIR=/config LC_ALL=en_US.UTF-8", volumes: "/tmp /config", ports: "25600/tcp",
		},
		// Kareadita/Kavita Dockerfile
		{repo: "docker.io/jvmilazz0/kavita", tags: "latest", base: "ubuntu24", dir: "/kavita", entry: "/entrypoint.sh", env: "DOTNET_RUNNING_IN_CONTAINER=true TZ=UTC", ports: "5000/tcp"},
		// photoprism/photoprism docker/photoprism/trixie/Dockerfile
		{
			repo: "docker.io/photoprism/photoprism", tags: "latest", base: "ubuntu24", dir: "/photoprism",
			entry: "/scripts/entrypoint.sh", cmd: "/opt/photoprism/bin/photoprism start", ports: "2342/tcp 2442/tcp 2443/tcp", groups: "render:105",
		},
		// blakeblackshear/frigate docker/main/Dockerfile (s6-overlay)
		{
			repo: "ghcr.io/blakeblackshear/frigate", tags: "stable", base: "debian12", entry: "/init", dir: "/opt/frigate",
			env: "NVIDIA_DRIVER_CAPABILITIES=compute,video,utility S6_LOGGING_SCRIPT=T", ports: "5000/tcp 8554/tcp 8555/tcp 8555/udp 8971/tcp", groups: "render:105",
		},
		// fallenbagel/jellyseerr, seerr-team/seerr Dockerfile
		{repo: "ghcr.io/seerr-team/seerr", tags: "latest", base: "alpine", dir: "/app", entry: "tini --", cmd: "npm start", user: "node:node", ports: "5055/tcp", accounts: "node:1000:1000:/home/node"},
		// FlareSolverr/FlareSolverr Dockerfile
		{
			repo: "docker.io/flaresolverr/flaresolverr", tags: "latest", base: "debian12", dir: "/app", entry: "/usr/bin/dumb-init --",
			cmd: "/usr/local/bin/python -u /app/flaresolverr.py", user: "flaresolverr", ports: "8191/tcp 8192/tcp", accounts: "flaresolverr:1000:1000:/home/flaresolverr",
		},
	}
}

// lsio returns an image of linuxserver.io (lscr.io/linuxserver/NAME). All start
// s6-overlay's /init as root and drop to PUID and PGID; all keep their state in
// /config (docker-baseimage-alpine and docker-baseimage-ubuntu, Dockerfile).
func lsio(name, base, ports string) standIn {
	return standIn{
		repo: "lscr.io/linuxserver/" + name, tags: "latest", base: base, entry: "/init",
		env:     "PS1=$(whoami)@$(hostname):$(pwd)\\$ HOME=/root TERM=xterm S6_CMD_WAIT_FOR_SERVICES_MAXTIME=0 S6_VERBOSITY=1",
		volumes: "/config", ports: ports, accounts: "abc:911:1000:/config",
	}
}
