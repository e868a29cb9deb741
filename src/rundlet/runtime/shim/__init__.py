"""The process that owns one container. One thread, one epoll loop; standard library, linux and log encoding only."""
