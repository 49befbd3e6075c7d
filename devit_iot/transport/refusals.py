"""Why a broker turns us away, and what a person can do about it. By MQTT's reason codes."""

FOR_GOOD = {
    "Bad user name or password": "check broker.username and the password",
    "Not authorized": "check broker.username, the password and the broker's access list",
    "Banned": "ask the broker's owner",
    "Client identifier not valid": "choose another node name",
    "Retain not supported": "allow retained messages there (mosquitto: retain_available true)",
    "QoS not supported": "allow QoS 1 there (mosquitto: max_qos 1 or 2)",
    "Use another server": "set broker.url to that server",
    "Server moved": "set broker.url to that server",
}
"""Answers to CONNECT that another attempt would not change, by their names, and the remedy."""

NO_SUBSCRIBERS = 16
"""Of a PUBACK: nobody subscribes to the topic."""
