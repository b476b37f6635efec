from django.urls import path

from provisioning import aaa

urlpatterns = [
    path("authorize", aaa.authorize, name="aaa-authorize"),
    path("accounting", aaa.account, name="aaa-accounting"),
]
